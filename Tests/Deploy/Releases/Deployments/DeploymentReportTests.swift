import Host
import System
import Testing

@testable import Releases

@Suite struct `Report of a deployment` {
    private func record(_ state: DeploymentState) -> DeploymentRecord {
        DeploymentRecord(
            number: 4, release: 7, previous: 6, trigger: .deploy, author: .configuration, options: DeploymentOptions(),
            createdAt: UnixTime(milliseconds: 1000), state: state)
    }

    private func sample(_ started: Int64, finished: Int64, failed: Int64 = 0) -> SlotSample {
        var reading = MeterReading()
        reading[.started] = started
        reading[.finished] = finished
        reading[.handled] = finished
        reading[.handlerErrors] = failed
        for _ in 0..<finished { reading.latencies.record(microseconds: 10_000) }
        return SlotSample(["w": reading])
    }

    @Test func `tells the time before, during and after the switch apart`() throws {
        var reporter = DeploymentReporter()
        func report(_ state: DeploymentState, new: SlotSample?, old: SlotSample?, at seconds: Int64) -> DeploymentReport {
            reporter.report(
                record(state), new: new, old: old, baseline: sample(100, finished: 100, failed: 1), migrations: [],
                at: UnixTime(milliseconds: seconds * 1000))
        }
        _ = report(.smokeTested, new: sample(0, finished: 0), old: sample(1000, finished: 990), at: 10)
        let during = report(.active, new: sample(50, finished: 50), old: sample(1100, finished: 1095), at: 20)
        #expect(during.after?.requests == 0 && during.drainMilliseconds == nil)
        let end = report(.draining, new: sample(250, finished: 240, failed: 2), old: sample(1100, finished: 1100), at: 23)
        #expect((end.before.requests, end.before.errors) == (100, 1))
        #expect(end.during.requests == 155 && end.during.errors == 0)
        #expect(end.after?.requests == 195 && end.after?.errors == 2)
        #expect(end.new.started == 250 && end.new.failed == 2 && end.new.errors == ["handler_errors": 2])
        #expect(end.old?.started == 100 && end.old?.finished == 110 && end.old?.open == 0)
        #expect(end.drainMilliseconds == 3000)
        let p99 = try #require(end.during.p99Milliseconds)
        #expect(abs(p99 - 10) < 0.5)
        // What is gone has done what it had done.
        let last = report(.retired, new: sample(260, finished: 260, failed: 2), old: nil, at: 600)
        #expect(last.old == end.old && last.drainMilliseconds == 3000)
        #expect(DeploymentReport(json: try #require(last.json)) == last)
        #expect(last.text.hasPrefix("deployment 4: release 7 retired, after release 6\nrelease 7: 260 started, 260 finished, "))
        #expect(last.text.contains("\nbefore: 100 requests, 1.0 % errors, p50 "))
    }

    @Test func `of one that went back knows what the candidate did`() {
        var reporter = DeploymentReporter()
        _ = reporter.report(
            record(.shifting), new: sample(0, finished: 0), old: sample(10, finished: 10), baseline: nil, migrations: [],
            at: UnixTime(milliseconds: 1))
        _ = reporter.report(
            record(.rolledBack), new: sample(20, finished: 20, failed: 5), old: sample(30, finished: 30), baseline: nil,
            migrations: [], at: UnixTime(milliseconds: 2))
        let report = reporter.report(
            record(.rolledBack), new: nil, old: sample(40, finished: 40), baseline: nil, migrations: [],
            at: UnixTime(milliseconds: 3))
        #expect(report.new.started == 20 && report.new.failed == 5 && report.old?.started == 30)
        #expect(report.after == nil && report.drainMilliseconds == nil && report.outcome == "rolled-back")
        #expect(report.during.errors == 5)
    }
}
