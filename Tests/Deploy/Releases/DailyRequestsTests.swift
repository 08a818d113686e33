import Foundation
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

    private let file = NSTemporaryDirectory() + "edge-requests-\(UUID().uuidString)"
    private let lines = Lines()
    private static let day: Int64 = 20_454

    private func open(_ clock: VirtualClock) -> DailyRequests {
        DailyRequests(file: file, clock: clock, logger: Logger(sink: lines, clock: clock, level: .warning))
    }

    private func clock(day: Int64 = Self.day) -> VirtualClock {
        VirtualClock(start: UnixTime(milliseconds: day * 86_400_000))
    }

    /// Until the thread that writes has done so.
    private func written(_ count: Int) async throws {
        for _ in 0..<6000 {
            if try FileTree.readTextIfPresent(file) == "\(Self.day) \(count)\n" { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("never written: \(count), but \(try FileTree.readTextIfPresent(file) ?? "nothing")")
    }

    @Test func `the one after the last is refused until the next UTC day, and 80 % is told once`() {
        // A quarter of an hour before midnight.
        let clock = VirtualClock(start: UnixTime(milliseconds: 1_767_225_600_000 - 900_000))
        let limit = DailyRequestLimit(requests: open(clock), most: 10)
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

    @Test func `a node that is killed has counted all but the last seconds`() async throws {
        let clock = clock()
        let requests = open(clock)
        for _ in 1...3 { #expect(requests.take(of: 5) == nil) }
        #expect(try FileTree.readTextIfPresent(file) == nil, "no request writes")
        clock.advance(by: DailyRequests.writeInterval)
        try await written(3)
        #expect(requests.take(of: 5) == nil)
        clock.advance(by: DailyRequests.writeInterval)
        try await written(4)
        let next = open(clock)
        #expect(next.take(of: 5) == nil)
        #expect(next.take(of: 5) != nil)
    }

    @Test func `one that ends has counted all, and writes no more`() async throws {
        let clock = clock()
        let requests = open(clock)
        for _ in 1...3 { #expect(requests.take(of: 5) == nil) }
        await requests.close()
        try await written(3)
        // Those that were still open belong to nobody's count.
        #expect(requests.take(of: 5) == nil)
        clock.advance(by: DailyRequests.writeInterval)
        let next = open(clock)
        for _ in 1...2 { #expect(next.take(of: 5) == nil) }
        #expect(next.take(of: 5) != nil)
        await next.close()
        try await written(5)
        await requests.close()
        try await written(5)
    }

    @Test func `another day begins at none, as does a damaged file, which is told`() async throws {
        let requests = open(clock())
        #expect(requests.take(of: 1) == nil)
        await requests.close()
        #expect(open(clock()).take(of: 1) != nil)
        #expect(open(clock(day: Self.day + 1)).take(of: 1) == nil)
        #expect(lines.count.load(ordering: .relaxed) == 2, "all of one request is 80 % of them")
        for damaged in ["", "20454", "20454 -1", "20454 1 1", "x y"] {
            try FileTree.replaceFile(file, with: Array(damaged.utf8), mode: 0o600)
            let before = lines.count.load(ordering: .relaxed)
            #expect(open(clock()).take(of: 10) == nil)
            #expect(lines.count.load(ordering: .relaxed) == before + 1)
        }
    }
}
