internal import FoundationEssentials
package import Host
package import System

/// What became of requests while a release took over from another: what `edge releases view` shows, and what is kept.
package struct DeploymentReport: Codable, Equatable, Sendable {
    package struct Slot: Codable, Equatable, Sendable {
        package var release: Int64
        /// Requests that came in for it since the deployment began.
        package var started: Int64
        package var finished: Int64
        /// Those that a second isolate had to try.
        package var retried: Int64
        /// Those that went on to the other release, because this one had ended.
        package var moved: Int64
        /// Answers of 5xx, and those that broke off.
        package var failed: Int64
        package var abandonedByClient: Int64
        package var open: Int64
        package var sockets: Int64
        /// Errors, by what they were; those that there were.
        package var errors: [String: Int64]
        package var isolateCrashes: Int64
        package var isolateFailedStarts: Int64
        /// Calls of other workers and events of durable objects, and those of them that failed; `nil`: there were none.
        package var calls: Int64?
        package var callErrors: Int64?
    }

    /// Answers to copies of requests, compared with those that clients got.
    package struct Shadow: Codable, Equatable, Sendable {
        package var equal: Int
        package var different: Int
        /// No answer, or not all of it in time.
        package var failed: Int
        package var skipped: Int
        /// The first ones: `GET /path: status 200, candidate 500`.
        package var differences: [String]

        package init?(_ reading: ShadowReport.Reading) {
            guard reading.equal + reading.different + reading.failed + reading.skipped > 0 else { return nil }
            (equal, different, failed, skipped) = (reading.equal, reading.different, reading.failed, reading.skipped)
            differences = reading.differences.map { "\($0.request): \($0.text)" }
        }
    }

    /// A part of the time, over both releases.
    package struct Phase: Codable, Equatable, Sendable {
        package var requests: Int64
        package var errors: Int64
        /// 0...1; `nil`: there were no requests.
        package var errorRate: Double?
        package var p50Milliseconds: Double?
        package var p99Milliseconds: Double?
    }

    package var deployment: Int64
    package var release: Int64
    package var previous: Int64?
    package var trigger: String
    /// The state that the deployment was in.
    package var outcome: String
    package var reason: String?
    package var createdAt: Int64
    package var reportedAt: Int64
    package var new: Slot
    /// `nil`: nothing served before.
    package var old: Slot?
    /// The previous release, in the ten minutes before.
    package var before: Phase
    /// Both, from the deployment's beginning to the switch.
    package var during: Phase
    /// Both, since the switch.
    package var after: Phase?
    /// From the switch to the last answer of the previous release; `nil`: it has open requests, or there was no switch.
    package var drainMilliseconds: Int64?
    /// Hibernating WebSockets that stayed open while their object went to the new release.
    package var socketsMoved: Int64
    /// Durable objects that went to the new release, and those of them that were cut off in what they did; `nil`: none did.
    package var objectsMoved: Int64?
    package var objectsCut: Int64?
    /// How the new release answered copies of requests; `nil`: it got none.
    package var shadow: Shadow?
    package var migrations: [MigrationStep]

    package var json: String? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) }
    }
}

extension DeploymentReport {
    package init?(json: String) {
        guard let report = try? JSONDecoder().decode(DeploymentReport.self, from: Data(json.utf8)) else { return nil }
        self = report
    }
}

extension DeploymentReport.Slot {
    /// - Parameter all: What it did until now, also before the window.
    init(release: Int64, _ window: SlotSample, of all: SlotSample) {
        let total = window.total
        let counters: [MeterCounter] = [
            .exceptions, .exceededLimits, .noIsolate, .timedOut, .otherErrors, .handlerErrors, .cutShort,
        ]
        self.init(
            release: release, started: total[.started], finished: total[.finished], retried: total[.retried],
            moved: total[.moved], failed: total.errorCount, abandonedByClient: total[.abandoned], open: all.total.openCount,
            sockets: 0,
            errors: Dictionary(
                uniqueKeysWithValues: counters.compactMap { total[$0] > 0 ? ($0.name, total[$0]) : nil }),
            isolateCrashes: total[.crashes], isolateFailedStarts: total[.failedStarts],
            calls: total[.calls] > 0 ? total[.calls] : nil, callErrors: total[.calls] > 0 ? total[.callErrors] : nil)
    }
}

extension DeploymentReport.Phase {
    init(_ windows: [SlotSample]) {
        let total = windows.map(\.total).reduce(into: MeterReading()) { $0 += $1 }
        func milliseconds(_ part: Double) -> Double? {
            total.latencies.percentile(part).map { ($0 / 10).rounded() / 100 }
        }
        self.init(
            requests: total.requestCount, errors: total.errorCount,
            errorRate: total.requestCount > 0 ? Double(total.errorCount) / Double(total.requestCount) : nil,
            p50Milliseconds: milliseconds(0.5), p99Milliseconds: milliseconds(0.99))
    }
}

// MARK: For people

extension DeploymentReport {
    package var text: String {
        var lines = [
            "deployment \(deployment): release \(release) \(outcome)"
                + (previous.map { ", after release \($0)" } ?? "") + (reason.map { ": \($0)" } ?? "")
        ]
        lines.append(new.text)
        if let old { lines.append(old.text) }
        lines.append("before: \(before.text)")
        lines.append("during: \(during.text)")
        if let after { lines.append("after: \(after.text)") }
        if let drainMilliseconds { lines.append("drain: \(ReleaseJudge.time(Double(drainMilliseconds) * 1000))") }
        lines.append("sockets moved: \(socketsMoved)")
        if let objectsMoved { lines.append("objects moved: \(objectsMoved), \(objectsCut ?? 0) of them cut off") }
        if let shadow {
            lines.append(
                "shadow: \(shadow.equal) equal, \(shadow.different) different, \(shadow.failed) failed, \(shadow.skipped) skipped"
            )
            lines += shadow.differences.map { "  \($0)" }
        }
        lines += migrations.map { "migration: \($0.database) \($0.file) (\($0.kind.rawValue))" }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension DeploymentReport.Slot {
    fileprivate var text: String {
        var parts = ["\(started) started", "\(finished) finished", "\(retried) retried", "\(failed) failed"]
        if moved > 0 { parts.append("\(moved) went on to the other release") }
        if abandonedByClient > 0 { parts.append("\(abandonedByClient) given up by their clients") }
        if open > 0 { parts.append("\(open) open") }
        if let calls { parts.append("\(calls) calls between workers and of objects (\(callErrors ?? 0) failed)") }
        let errors = errors.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        return "release \(release): \(parts.joined(separator: ", "))"
            + (errors.isEmpty ? "" : " (\(errors.joined(separator: ", ")))")
    }
}

extension DeploymentReport.Phase {
    fileprivate var text: String {
        guard requests > 0 else { return "no requests" }
        func time(_ milliseconds: Double?) -> String { milliseconds.map { ReleaseJudge.time($0 * 1000) } ?? "-" }
        return "\(requests) requests, \(ReleaseJudge.percent(errorRate ?? 0)) errors, p50 \(time(p50Milliseconds)), "
            + "p99 \(time(p99Milliseconds))"
    }
}

// MARK: Taking it down

/// Takes down what a deployment's report needs, at its beginning, at the switch and as often as somebody asks. Holds the newest few.
/// Of one that was begun before the node started, it knows what was since then.
package struct DeploymentReporter: Sendable {
    private struct Notes {
        let number: Int64
        let baseline: SlotSample
        /// Of both, when the deployment was first noted.
        let newStart: SlotSample
        let oldStart: SlotSample
        /// When they were last there.
        var new: SlotSample
        var old: SlotSample
        /// As of the switch.
        var newAtSwitch: SlotSample?
        var oldAtSwitch: SlotSample?
        var switchedAt: UnixTime?
        var drainedAt: UnixTime?
    }
    private var notes: [Notes] = []
    private static let notesMax = 8

    package init() {}

    /// - Parameters:
    ///   - new: What the record's release did until now; `nil`: it is gone.
    ///   - old: The same of the one before.
    ///   - baseline: What it did in the ten minutes before.
    package mutating func report(
        _ record: DeploymentRecord, new: SlotSample?, old: SlotSample?, baseline: SlotSample?, migrations: [MigrationStep],
        moves: ObjectMoveReport? = nil, at now: UnixTime
    ) -> DeploymentReport {
        let index = note(record, new, old, baseline, now)
        let note = notes[index]
        let (new, old) = (note.new, note.old)
        let (newAtSwitch, oldAtSwitch) = (note.newAtSwitch ?? new, note.oldAtSwitch ?? old)
        let newSlot = DeploymentReport.Slot(release: record.release, new - note.newStart, of: new)
        var oldSlot: DeploymentReport.Slot?
        if let previous = record.previous { oldSlot = DeploymentReport.Slot(release: previous, old - note.oldStart, of: old) }
        let during = DeploymentReport.Phase([newAtSwitch - note.newStart, oldAtSwitch - note.oldStart])
        var after: DeploymentReport.Phase?
        if note.newAtSwitch != nil { after = DeploymentReport.Phase([new - newAtSwitch, old - oldAtSwitch]) }
        var drain: Int64?
        if let start = note.switchedAt, let end = note.drainedAt { drain = max(0, end.milliseconds - start.milliseconds) }
        return DeploymentReport(
            deployment: record.number, release: record.release, previous: record.previous, trigger: record.trigger.rawValue,
            outcome: record.state.rawValue, reason: record.reason, createdAt: record.createdAt.milliseconds,
            reportedAt: now.milliseconds, new: newSlot, old: oldSlot, before: DeploymentReport.Phase([note.baseline]),
            during: during, after: after, drainMilliseconds: drain, socketsMoved: Int64(moves?.sockets ?? 0),
            objectsMoved: moves.map { Int64($0.objects) }, objectsCut: moves.map { Int64($0.cut) }, migrations: migrations)
    }

    private mutating func note(
        _ record: DeploymentRecord, _ new: SlotSample?, _ old: SlotSample?, _ baseline: SlotSample?, _ now: UnixTime
    ) -> Int {
        let index: Int
        if let found = notes.firstIndex(where: { $0.number == record.number }) {
            index = found
        } else {
            if notes.count >= Self.notesMax { notes.removeFirst() }
            index = notes.count
            notes.append(
                Notes(
                    number: record.number, baseline: baseline ?? SlotSample(), newStart: new ?? SlotSample(),
                    oldStart: old ?? SlotSample(), new: new ?? SlotSample(), old: old ?? SlotSample()))
        }
        // What is gone has done what it had done when it was last there.
        if let new { notes[index].new = new }
        if let old { notes[index].old = old }
        if record.state.isPastSwitch, notes[index].newAtSwitch == nil {
            notes[index].newAtSwitch = notes[index].new
            notes[index].oldAtSwitch = notes[index].old
            notes[index].switchedAt = now
        }
        if notes[index].switchedAt != nil, notes[index].drainedAt == nil,
            notes[index].old.total.openCount == 0
        {
            notes[index].drainedAt = now
        }
        return index
    }
}
