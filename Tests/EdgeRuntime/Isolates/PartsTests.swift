import Glibc
import System
import Testing

@testable import Isolates

@Suite struct `Output lines` {
    @Test func `are cut at newlines, wherever the chunks end`() {
        var lines = OutputLines()
        #expect(lines.take(Array("one\ntw".utf8)[...]) == ["one"])
        #expect(lines.take(Array("o\n\nthree".utf8)[...]) == ["two", ""])
        #expect(lines.takeRest() == "three")
        #expect(lines.takeRest() == nil)
    }

    @Test func `are bounded`() {
        var lines = OutputLines()
        #expect(lines.take(Array(repeating: UInt8(ascii: "x"), count: 100_000)[...]) == [])
        let line = lines.take([UInt8(ascii: "\n")][...])[0]
        #expect(line.utf8.count == OutputLines.lineBytesMax + "…".utf8.count)
        #expect(lines.take(Array("short\n".utf8)[...]) == ["short"])
    }

    @Test func `can't command a terminal, and are text whatever the bytes`() {
        var lines = OutputLines()
        let bytes: [UInt8] = [0x1b, 0x5b, 0x32, 0x4a, 0xff, 0x09, 0x0d, 0xc2, 0x9b, 0x0a]
        #expect(lines.take(bytes[...]) == ["\u{fffd}[2J\u{fffd}\t\u{fffd}\u{fffd}"])
    }

    @Test func `the budget allows a burst, then its rate`() {
        var budget = OutputBudget()
        budget.spend(OutputBudget.burstBytes + 5)
        #expect(budget.bytes == 0)
        budget.refill(milliseconds: 500)
        #expect(budget.bytes == OutputBudget.bytesPerSecond / 2)
        budget.refill(milliseconds: 3_600_000)
        #expect(budget.bytes == OutputBudget.burstBytes)
    }
}

@Suite struct `Process statistics` {
    @Test func `are read behind the last parenthesis of any name`() {
        let fields = (3...52).map { $0 == 20 ? "7" : $0 == 24 ? "100" : $0 == 3 ? "S" : "1" }.joined(
            separator: " ")
        for name in ["worker", "a b", ") S 1 (", "((", ""] {
            let parsed = ProcessProbe.parse(Array("42 (\(name)) \(fields)\n".utf8)[...])
            #expect(parsed?.threadCount == 7)
            #expect(parsed?.residentBytes == UInt64(100 * sysconf(Int32(_SC_PAGESIZE))))
        }
    }

    @Test(arguments: ["", "42", "42 (x", "42 (x) S 1 2", "42 (x) " + String(repeating: "x ", count: 50)])
    func `are refused when cut short or no numbers`(text: String) {
        #expect(ProcessProbe.parse(Array(text.utf8)[...]) == nil)
    }
}

@Suite struct `Executable header` {
    static func probe() throws -> [UInt8] {
        Array(try contents(TestNode.probePath).prefix(ExecutableHeader.prefixByteCount))
    }

    @Test func `names the loader`() throws {
        let interpreter = try ExecutableHeader(Self.probe()).interpreter
        #expect(interpreter?.contains("/ld-linux") == true)
    }

    @Test func `refuses what this machine can't run`() throws {
        let good = try Self.probe()
        func changed(_ offset: Int, _ value: UInt8) -> [UInt8] {
            var bytes = good
            bytes[offset] = value
            return bytes
        }
        let table: [([UInt8], ExecutableHeader.Problem)] = [
            ([], .notELF), (Array(good.prefix(63)), .notELF), (changed(0, 0), .notELF),
            (changed(4, 1), .not64Bit), (changed(5, 2), .not64Bit), (changed(16, 1), .notRunnable),
            (changed(18, 40), .otherMachine), (changed(39, 0xff), .damaged), (changed(54, 1), .damaged),
            (changed(57, 0xff), .damaged), (Array(good.prefix(64)), .damaged),
        ]
        for (index, (bytes, problem)) in table.enumerated() {
            #expect(throws: problem, "row \(index)") { _ = try ExecutableHeader(bytes) }
        }
    }

    @Test func `refuses a loader that is none of the system's`() throws {
        let good = try Self.probe()
        let path = try #require(try ExecutableHeader(good).interpreter)
        let bytes = Array(path.utf8)
        let start = try #require(good.indices.first { good[$0...].starts(with: bytes) })
        for replacement in ["/tmp/evil", "/lib64/../tmp/x"] {
            var changed = good
            for (offset, byte) in (Array(replacement.utf8) + Array(repeating: UInt8(ascii: "x"), count: 99))
                .prefix(bytes.count).enumerated()
            {
                changed[start + offset] = byte
            }
            #expect(throws: ExecutableHeader.Problem.self) { _ = try ExecutableHeader(changed) }
        }
    }

    @Test func `survives any bytes`() throws {
        let good = try Self.probe()
        for seed in UInt64(1)...3000 {
            var random = SeededGenerator(seed: seed)
            var bytes = Array(good.prefix(Int.random(in: 0...1200, using: &random)))
            for _ in 0..<8 where !bytes.isEmpty {
                bytes[Int.random(in: 0..<min(bytes.count, 200), using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            // Whatever it says, it says it without a trap.
            _ = try? ExecutableHeader(bytes)
        }
    }
}

@Suite struct `The doctor` {
    @Test func `reports each layer once, with something to say about it`() {
        let report = Doctor.examine()
        let layers = report.findings.map(\.layer)
        #expect(
            layers == [
                "seccomp", "landlock", "no_new_privs", "uid", "rlimits", "pidfd", "proc", "namespaces",
                "cgroup",
            ])
        #expect(report.findings.allSatisfy { !$0.detail.isEmpty && !$0.consequence.isEmpty })
        #expect(report.canRun)
        for finding in report.findings {
            print("\(finding.layer): \(finding.state.rawValue): \(finding.detail)")
        }
    }
}
