import Glibc
import Interfaces
import Stores
import Synchronization
import System
import Testing
import Wire

@testable import StoresAnalytics

@Suite struct `A dataset binding` {
    /// What a handler's calls come to.
    private final class Event: DataPointTransport {
        private let service: AnalyticsService
        private let state = Mutex((count: 0, warnings: [String]()))
        private let canPost: Bool

        init(_ store: EmbeddedAnalyticsStore, canPost: Bool = true) {
            service = AnalyticsService(store, dataset: "metrics")
            self.canPost = canPost
        }

        var warnings: [String] { state.withLock { $0.warnings } }
        func onItsThread(_ body: @escaping @Sendable () -> Void) { body() }
        func countDataPoint() -> Int {
            state.withLock {
                $0.count += 1
                return $0.count
            }
        }
        func post(_ call: BindingCall) -> Bool {
            canPost && (try? service.answerInPlace(StoreCall(call.kind, message: call.message))) != nil
        }
        func warn(_ text: String) { state.withLock { $0.warnings.append(text) } }
    }

    @Test func `probe 18: three points have their exact sum`() async throws {
        let fixture = try AnalyticsFixture()
        let event = Event(fixture.store)
        let dataset = AnalyticsDataset(transport: event, binding: 0)
        for number in [1.5, 2.25, 4] { dataset.writeDataPoint(indexes: ["i"], blobs: ["b", nil], doubles: [number]) }
        dataset.writeDataPoint(indexes: ["one", "two"], doubles: [100])
        #expect(event.warnings == ["writeDataPoint: the point was dropped: 2 indexes, at most 1 is allowed"])
        #expect(
            try await fixture.query("SELECT sum(double1*_sample_interval) FROM metrics")
                == #"{"meta":[{"name":"sum(double1*_sample_interval)","type":"Float64"}],"data":[{"sum(double1*_sample_interval)":7.75}],"rows":1}"#
                + "\n")
    }

    @Test(
        arguments: [
            ([String](repeating: "", count: 1), [], 0, nil), ([String(repeating: "x", count: 96)], [], 20, nil),
            ([], [String](repeating: "", count: 20), 20, nil), ([], [String(repeating: "x", count: 16384)], 0, nil),
            ([String(repeating: "x", count: 97)], [], 0, "an index of 97 bytes, at most 96 are allowed"),
            ([String(repeating: "ü", count: 49)], [], 0, "an index of 98 bytes, at most 96 are allowed"),
            ([], [String](repeating: "", count: 21), 0, "21 blobs, at most 20 are allowed"),
            ([], [String(repeating: "x", count: 16384), "y"], 0, "blobs of 16385 bytes, at most 16384 are allowed"),
            ([], [], 21, "21 doubles, at most 20 are allowed"),
        ] as [([String], [String], Int, String?)])
    func `drops a point over a limit, with a warning`(
        indexes: [String], blobs: [String], doubleCount: Int, problem: String?
    ) async throws {
        let fixture = try AnalyticsFixture()
        let event = Event(fixture.store)
        AnalyticsDataset(transport: event, binding: 0).writeDataPoint(
            indexes: indexes, blobs: blobs, doubles: [Double](repeating: 1, count: doubleCount))
        #expect(event.warnings == (problem.map { ["writeDataPoint: the point was dropped: \($0)"] } ?? []))
        if problem == nil {
            #expect(try await fixture.rows("SELECT count() FROM metrics") == ["1"])
        } else {
            #expect(await fixture.failure("SELECT 1 FROM metrics").contains("unknown table"))
        }
    }

    @Test func `takes 250 points of one event and warns once of the others`() async throws {
        let fixture = try AnalyticsFixture()
        let event = Event(fixture.store)
        let dataset = AnalyticsDataset(transport: event, binding: 0)
        for _ in 0..<300 { dataset.writeDataPoint(doubles: [1]) }
        #expect(try await fixture.rows("SELECT count() FROM metrics") == ["250"])
        #expect(event.warnings.count == 1)
    }

    @Test func `says when a point can't be sent`() throws {
        let event = Event(try AnalyticsFixture().store, canPost: false)
        AnalyticsDataset(transport: event, binding: 0).writeDataPoint()
        #expect(event.warnings.count == 1)
    }

    @Test func `refuses messages that the SDK doesn't send`() async throws {
        let fixture = try AnalyticsFixture()
        let service = AnalyticsService(fixture.store, dataset: "metrics")
        let point = AnalyticsPoint(indexes: ["a", "b"])
        for message in [[], [1], point.encoded(), AnalyticsPoint().encoded() + [0]] as [[UInt8]] {
            let failure = #expect(throws: CallFailure.self) {
                try service.answerInPlace(StoreCall(.analyticsWrite, message: message))
            }
            #expect(failure?.isMalformedCall == true)
        }
        #expect(throws: CallFailure.self) { try service.answerInPlace(StoreCall(.kvGet, message: [])) }
    }
}

@Suite struct `The store of data points` {
    private func point(_ number: Double) -> AnalyticsPoint { AnalyticsPoint(indexes: ["i"], blobs: ["b"], doubles: [number]) }

    @Test func `has what was flushed after a crash, and not what wasn't`() async throws {
        let fixture = try AnalyticsFixture()
        fixture.store.write(point(1), to: "d")
        await fixture.store.flush()
        fixture.store.write(point(2), to: "d")
        try fixture.reopen()
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1"])
    }

    @Test func `numbers at the ends of their range are answered or refused`() async throws {
        let fixture = try AnalyticsFixture()
        let numbers = [
            "0", "-1", "1000000000", "1000000001", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
            "-9223372036854775807 - 1", "1e300", "-1e300", "0.5", "1 / 0", "0 / 0",
        ]
        var texts: [String] = []
        for number in numbers {
            for unit in ["SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR"] {
                texts += ["now() + INTERVAL '\(number)' \(unit)", "now() - INTERVAL \(number) \(unit)"]
                texts.append("toStartOfInterval(now(), INTERVAL '\(number)' \(unit))")
            }
            texts += [
                "toDateTime(\(number))", "toDateTime('\(number)')", "today() - (\(number))", "now() + (\(number))",
                "-(\(number))",
                "intDiv(\(number), -1)", "(\(number)) % -1", "toUInt32(\(number))", "toUInt8('\(number)')",
                "substring('abc', \(number), \(number))", "bitShiftLeft(1, \(number))", "bitShiftRight(-1, \(number))",
                "bitTest(1, \(number))", "round(1.5, \(number))", "pow(\(number), \(number))", "hex(\(number))",
                "bin(\(number))",
                "formatDateTime(toDateTime(\(number)), '%Y-%y-%C-%j-%D')", "toYYYYMM(toDateTime(\(number)) + INTERVAL 1 YEAR)",
                "quantileExactWeighted(\(number))(1, 1)", "topK(\(number))(1)", "sum(\(number))", "avg(\(number))",
            ]
        }
        for text in texts {
            // What matters is that there is an answer.
            let answer = await fixture.failure("SELECT \(text)")
            #expect(!answer.isEmpty, "\(text)")
        }
        #expect(
            await fixture.failure("SELECT now() + INTERVAL '-9223372036854775808' DAY").contains("expected a whole number"))
    }

    @Test func `texts that differ in bytes only are two`() async throws {
        let fixture = try AnalyticsFixture()
        for blob in ["\u{e9}", "e\u{301}", "\u{e9}"] {
            fixture.store.write(AnalyticsPoint(blobs: [blob], doubles: [1]), to: "t")
        }
        #expect(
            try await fixture.rows("SELECT hex(blob1), count() FROM t GROUP BY blob1 ORDER BY 2") == ["65CC81\t1", "C3A9\t2"])
        #expect(try await fixture.rows("SELECT count(DISTINCT blob1) FROM t WHERE blob1 != ''") == ["2"])
        #expect(try await fixture.rows("SELECT count() FROM t WHERE blob1 = '\u{e9}'") == ["2"])
        #expect(try await fixture.rows("SELECT DISTINCT length(blob1) FROM t ORDER BY 1") == ["1", "2"])
    }

    @Test func `writes within the flush interval, unasked`() async throws {
        let fixture = try AnalyticsFixture()
        fixture.store.write(point(1), to: "d")
        fixture.clock.advance(by: .milliseconds(499))
        #expect(fixture.files("d") == [])
        fixture.clock.advance(by: .milliseconds(1))
        // What is due was handed to the writing thread, behind which this stands.
        await fixture.store.flush()
        try fixture.reopen()
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1"])
    }

    @Test func `keeps a file for each hour, and drops those that are too old`() async throws {
        var options = EmbeddedAnalyticsStore.Options()
        options.retention = .seconds(3 * 3600)
        let fixture = try AnalyticsFixture(options)
        for hour in 0..<6 {
            fixture.store.write(point(Double(hour)), to: "d")
            await fixture.store.flush()
            fixture.clock.advance(by: .seconds(3600))
            await fixture.store.flush()
        }
        // At the sixth hour, the third is the last of which a part is younger than three hours.
        #expect(fixture.files("d").count == 3)
        #expect(try await fixture.rows("SELECT double1 FROM d ORDER BY timestamp") == ["3", "4", "5"])
        fixture.store.keepPoints(for: .seconds(3600))
        fixture.clock.advance(by: .seconds(3600))
        await fixture.store.flush()
        #expect(try await fixture.rows("SHOW TABLES") == [])
        #expect(fixture.files("d") == [])
    }

    /// Cuts a file at every length, as a crash in the middle of a write does.
    @Test func `ends with the last whole record of a torn file, and writes on behind it`() async throws {
        let fixture = try AnalyticsFixture()
        for number in 1...3 { fixture.store.write(point(Double(number)), to: "d") }
        await fixture.store.flush()
        let path = "\(fixture.path)/d/\(fixture.files("d")[0])"
        let whole = try FileTree.read(path)
        let recordBytes = (whole.count - 8) / 3
        for length in 0...whole.count {
            try FileTree.replaceFile(path, with: Array(whole.prefix(length)), mode: 0o600)
            try fixture.reopen()
            let kept = max(0, (length - 8) / recordBytes)
            #expect(try await fixture.rows("SELECT count() FROM d") == ["\(kept)"], "length \(length)")
            fixture.store.write(point(9), to: "d")
            #expect(
                try await fixture.rows("SELECT double1 FROM d") == (1...3).prefix(kept).map { "\($0)" } + ["9"],
                "length \(length)")
        }
    }

    @Test func `a file that is damaged in its middle is set aside, and nothing of it is lost`() async throws {
        let fixture = try AnalyticsFixture()
        for number in 1...5 { fixture.store.write(point(Double(number)), to: "d") }
        await fixture.store.flush()
        let name = fixture.files("d")[0]
        let path = "\(fixture.path)/d/\(name)"
        let whole = try FileTree.read(path)
        let recordBytes = (whole.count - 8) / 5
        // Overwritten from inside the second record to inside the third, the second time by zeros, as a lost page is.
        var expected = ["1", "4", "5"]
        for (turn, garbage) in [UInt8(0xA5), 0].enumerated() {
            var damaged = whole
            for offset in (8 + recordBytes + 5)..<(8 + 2 * recordBytes + 9) { damaged[offset] = garbage }
            try FileTree.replaceFile(path, with: damaged, mode: 0o600)
            try fixture.reopen()
            fixture.store.write(point(9 + Double(turn)), to: "d")
            await fixture.store.flush()
            let aside = "\(name.dropLast(7)).damaged-\(turn + 1).points"
            #expect(Set(fixture.files("d")).isSuperset(of: [aside, name]))
            #expect(try FileTree.read("\(fixture.path)/d/\(aside)") == damaged)
            #expect(fixture.log.messages.contains { $0.contains("set aside") })
            if turn == 0 { expected += ["9"] } else { expected = ["1", "4", "5", "1", "4", "5", "10"] }
            for _ in 0..<2 {
                #expect(try await fixture.rows("SELECT double1 FROM d") == expected)
                let problems = await fixture.store.verify()
                #expect(problems.count == turn + 1 && problems[turn].contains(aside), "\(problems)")
                // What comes later goes into the new file.
                try fixture.reopen()
            }
        }
        // Age ends what was set aside as well.
        fixture.store.keepPoints(for: .seconds(3600))
        for _ in 0..<3 {
            fixture.clock.advance(by: .seconds(3600))
            await fixture.store.flush()
        }
        #expect(fixture.files("d") == [])
    }

    @Test func `a file with another head is set aside when points come for its hour`() async throws {
        let fixture = try AnalyticsFixture()
        for number in 1...2 { fixture.store.write(point(Double(number)), to: "d") }
        await fixture.store.flush()
        let path = "\(fixture.path)/d/\(fixture.files("d")[0])"
        var other = try FileTree.read(path)
        other[0] ^= 0xFF
        try FileTree.replaceFile(path, with: other, mode: 0o600)
        try fixture.reopen()
        fixture.store.write(point(3), to: "d")
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1", "2", "3"])
        #expect(await fixture.store.verify().count == 1)
    }

    @Test func `verify names each file that isn't whole`() async throws {
        let fixture = try AnalyticsFixture()
        #expect(await fixture.store.verify() == [])
        for number in 1...3 { fixture.store.write(point(Double(number)), to: "d") }
        fixture.store.write(point(1), to: "other")
        #expect(await fixture.store.verify() == [])
        let path = "\(fixture.path)/d/\(fixture.files("d")[0])"
        let whole = try FileTree.read(path)
        let second = 8 + (whole.count - 8) / 3
        var changed = whole
        changed[second + 12] ^= 1
        var other = whole
        other[7] = UInt8(ascii: "2")
        let behind = "behind 1 whole records, at byte \(second) of"
        let third = 8 + (whole.count - 8) / 3 * 2
        for (bytes, text) in [
            (
                changed,
                "between 2 whole records, 1 places are damaged, the first at bytes \(second) to \(third) of \(whole.count)"
            ),
            (Array(whole.prefix(second + 5)), "\(behind) \(second + 5), something is torn or changed"), (other, "read segment"),
        ] {
            try FileTree.replaceFile(path, with: bytes, mode: 0o600)
            try fixture.reopen()
            let problems = await fixture.store.verify()
            #expect(problems.count == 1 && problems[0].hasPrefix("dataset d: ") && problems[0].contains(text), "\(problems)")
        }
    }

    @Test func `answers around a record whose bits were changed`() async throws {
        let fixture = try AnalyticsFixture()
        for number in 1...3 { fixture.store.write(point(Double(number)), to: "d") }
        await fixture.store.flush()
        let path = "\(fixture.path)/d/\(fixture.files("d")[0])"
        let whole = try FileTree.read(path)
        let recordBytes = (whole.count - 8) / 3
        for offset in (8 + recordBytes)..<(8 + 2 * recordBytes) {
            var changed = whole
            changed[offset] ^= 1
            try FileTree.replaceFile(path, with: changed, mode: 0o600)
            try fixture.reopen()
            #expect(try await fixture.rows("SELECT double1 FROM d") == ["1", "3"], "offset \(offset)")
        }
        var other = whole
        other[7] = UInt8(ascii: "2")
        try FileTree.replaceFile(path, with: other, mode: 0o600)
        try fixture.reopen()
        #expect(await fixture.failure("SELECT double1 FROM d").hasPrefix("the points can't be read"))
    }

    @Test(arguments: ["write", "fdatasync"])
    func `keeps what the disk refuses, and writes it once later`(operation: String) async throws {
        let failures = Failures()
        var options = EmbeddedAnalyticsStore.Options()
        options.fault = { $0 == operation && failures.isOn ? ENOSPC : nil }
        let fixture = try AnalyticsFixture(options)
        fixture.store.write(point(1), to: "d")
        await fixture.store.flush()
        failures.isOn = true
        fixture.store.write(point(2), to: "d")
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1"])
        fixture.store.write(point(3), to: "d")
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1"])
        failures.isOn = false
        fixture.clock.advance(by: .milliseconds(500))
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1", "2", "3"])
        try fixture.reopen()
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1", "2", "3"])
        #expect(fixture.log.messages.contains { $0.contains("can't be written") })
    }

    private final class Failures: Sendable {
        private let value = Atomic(false)
        var isOn: Bool {
            get { value.load(ordering: .relaxed) }
            set { value.store(newValue, ordering: .relaxed) }
        }
    }

    @Test func `drops points that come faster than the disk takes them`() async throws {
        var options = EmbeddedAnalyticsStore.Options()
        options.pendingBytesMax = 1000
        let fixture = try AnalyticsFixture(options)
        for _ in 0..<100 { fixture.store.write(point(1), to: "d") }
        let kept = try await fixture.rows("SELECT count() FROM d")
        #expect(kept.first.flatMap { Int($0) }.map { (10...40).contains($0) } == true)
        #expect(fixture.log.messages == ["data points were dropped: they came faster than the disk takes them"])
        fixture.store.write(point(1), to: "d")
        #expect(try await fixture.rows("SELECT count() FROM d") != kept)
    }

    @Test func `takes nothing once it is closed, and has written all before`() async throws {
        let fixture = try AnalyticsFixture()
        fixture.store.write(point(1), to: "d")
        await fixture.store.close()
        fixture.store.write(point(2), to: "d")
        try fixture.reopen()
        #expect(try await fixture.rows("SELECT double1 FROM d") == ["1"])
    }

    /// Writes, flushes, crashes and hours in any order, against a list.
    @Test(arguments: [1, 2, 3, 4, 5, 6]) func `has what a slow model has`(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let fixture = try AnalyticsFixture()
        var (durable, pending) = ([[String]](repeating: [], count: 3), [[String]](repeating: [], count: 3))
        for step in 0..<300 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<6:
                let dataset = Int.random(in: 0..<3, using: &generator)
                let blobs = (0..<Int.random(in: 0...3, using: &generator)).map { index in
                    index == 1 ? nil : String(repeating: "x", count: Int.random(in: 0...300, using: &generator))
                }
                fixture.store.write(
                    AnalyticsPoint(indexes: ["\(step)"], blobs: blobs, doubles: [Double(step)]), to: "d\(dataset)")
                let texts = (0..<3).map { $0 < blobs.count ? blobs[$0] ?? "" : "" }
                pending[dataset].append("\(step)\t\(texts.joined(separator: "\t"))\t\(step)")
            case 6:
                fixture.clock.advance(by: .seconds(Int64.random(in: 1...2000, using: &generator)))
                // What has become due is behind this on the writing thread.
                await fixture.store.flush()
                for index in 0..<3 { durable[index] += pending[index] }
                pending = [[String]](repeating: [], count: 3)
            case 7:
                try fixture.reopen()
                pending = [[String]](repeating: [], count: 3)
            default:
                await fixture.store.flush()
                for index in 0..<3 { durable[index] += pending[index] }
                pending = [[String]](repeating: [], count: 3)
            }
            if step % 10 == 9 {
                await fixture.store.flush()
                for index in 0..<3 { durable[index] += pending[index] }
                pending = [[String]](repeating: [], count: 3)
                for index in 0..<3 where !durable[index].isEmpty {
                    let rows = try await fixture.rows("SELECT index1, blob1, blob2, blob3, double1 FROM d\(index)")
                    #expect(rows == durable[index], "seed \(seed), step \(step)")
                }
            }
        }
    }
}
