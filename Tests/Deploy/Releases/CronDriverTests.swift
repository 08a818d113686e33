import System
import Testing

@testable import Releases

@Suite struct `Cron driver` {
    static let turns: [(late: Int64, turn: CronDriver.Turn)] = [
        (-1, .notYet), (0, .now), (1, .now), (59_999, .now), (60_000, .missed), (86_400_000, .missed),
    ]

    @Test(arguments: turns) func `fires a minute while it lasts, and none that was slept through`(
        late: Int64, turn: CronDriver.Turn
    ) {
        let minute = UnixTime(milliseconds: 1_767_225_600_000)
        #expect(CronDriver.turn(minute, at: UnixTime(milliseconds: minute.milliseconds + late)) == turn)
    }
}
