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

    /// A switch in the very second that a cron is due (spec: deploys, probe 22).
    @Test func `fires a minute that came during a switch exactly once`() {
        let (minute, before) = (UnixTime(milliseconds: 1_767_225_600_000), UnixTime(milliseconds: 1_767_225_540_000))
        func overdue(_ late: Int64, lastFired: UnixTime = before, due: UnixTime? = minute) -> UnixTime? {
            CronDriver.overdue(due, lastFired: lastFired, at: UnixTime(milliseconds: minute.milliseconds + late))
        }
        // The loop of the replaced release was called off after the minute had begun, and before it could fire it.
        #expect(overdue(0) == minute && overdue(1) == minute && overdue(59_999) == minute)
        // It is still to come: the new release's loop waits for it.
        #expect(overdue(-1) == nil)
        // The replaced release has fired it.
        #expect(overdue(1, lastFired: minute) == nil)
        #expect(overdue(60_000) == nil)
        #expect(overdue(1, due: nil) == nil)
    }
}
