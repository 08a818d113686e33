import Host
import Observability
import Synchronization
import System
import Testing

@testable import Releases

/// Spec: runtime, section 8: requests per day.
@Suite struct `Requests per day` {
    private final class Lines: LogSink {
        let count = Atomic<Int>(0)
        func write(_ record: LogRecord) { count.wrappingAdd(1, ordering: .relaxed) }
    }

    @Test func `the one after the last is refused until the next UTC day, and 80 % is told once`() {
        // A quarter of an hour before midnight.
        let clock = VirtualClock(start: UnixTime(milliseconds: 1_767_225_600_000 - 900_000))
        let lines = Lines()
        let requests = DailyRequests(clock: clock, logger: Logger(sink: lines, clock: clock, level: .warning))
        let limit = DailyRequestLimit(requests: requests, most: 10)
        for number in 1...10 {
            #expect(limit.refuse("client \(number)") == nil)
            #expect(lines.count.load(ordering: .relaxed) == (number < 8 ? 0 : 1))
        }
        #expect(limit.refuse("another") == .seconds(900))
        #expect(limit.refusal == .dailyLimit)
        clock.advance(by: .milliseconds(899_999))
        #expect(limit.refuse("another") == .seconds(1))
        clock.advance(by: .milliseconds(1))
        for _ in 1...10 { #expect(limit.refuse("another") == nil) }
        #expect(limit.refuse("another") == .seconds(86_400))
        #expect(lines.count.load(ordering: .relaxed) == 2)
    }
}
