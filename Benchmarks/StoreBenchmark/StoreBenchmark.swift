// StoreBenchmark measures the store engines beside the libraries they stand on, used without our code: every round runs
// both, the order alternates, and a row is the median of the rounds' ratios. It asserts nothing.

internal import Glibc
internal import Observability
internal import System

/// `StoreBenchmark WORKDIR [ROW…]`: prints a line for each row, `title<TAB>figure<TAB>aim<TAB>detail`. Rows: kv-get,
/// kv-put, d1-select, d1-insert, d1-batch, d1-restore, queue-send, r2, r2-large. WORKDIR must be on the disk that is to be measured.
///
/// `StoreBenchmark WORKDIR --raw-lmdb COUNT`: for each line of standard input, writes COUNT pairs in one transaction of liblmdb
/// and prints how many seconds that took.
@main struct StoreBenchmark {
    let directory: String
    let clock = SystemClock()

    static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        guard let workspace = arguments.first else {
            print("usage: StoreBenchmark WORKDIR [ROW...]")
            exit(64)
        }
        // A directory of its own, so that two runs don't meet.
        let directory = workspace + "/stores-\(getpid())"
        let benchmark = StoreBenchmark(directory: directory)
        let chosen = Set(arguments.dropFirst())
        do {
            try FileTree.makeDirectory(directory, mode: 0o700)
            if chosen.contains("--raw-lmdb") {
                return try benchmark.rawWrites(arguments.compactMap { Int($0) }.first ?? 10_000)
            }
            for (name, row) in benchmark.rows where chosen.isEmpty || chosen.contains(name) {
                try await row()
            }
        } catch {
            print("\(error)")
            exit(1)
        }
    }

    private var rows: [(String, () async throws -> Void)] {
        [
            ("kv-get", kvGet), ("kv-put", kvPut), ("d1-select", d1Select), ("d1-insert", d1Insert),
            ("d1-batch", d1Batch), ("d1-restore", d1Restore), ("queue-send", queueSend), ("r2", r2), ("r2-large", r2Large),
        ]
    }

    /// Nothing of what a store logs belongs into the table.
    var logger: Logger { Logger(sink: DiscardingSink(), clock: clock, level: .error) }

    func path(_ name: String) -> String { directory + "/" + name }

    /// A row of the table.
    func report(_ title: String, _ comparison: Comparison, aim: String, peer: String) {
        let (ours, theirs) = (comparison.ours, comparison.theirs)
        var detail =
            "\(rate(ours.perSecond))/s vs \(rate(theirs.perSecond))/s, "
            + "\(decimal(ours.cpuMicroseconds)) vs \(decimal(theirs.cpuMicroseconds)) us CPU"
        if let latencies = ours.latencies {
            detail += ", p50 \(latencies.text(50)) p99 \(latencies.text(99))"
        }
        if let latencies = theirs.latencies {
            detail += " vs p50 \(latencies.text(50)) p99 \(latencies.text(99))"
        }
        print("\(title)\t\(decimal(comparison.ratio)) x \(peer)\t\(aim)\t\(detail)")
        fflush(nil)
    }
}

/// Two decimals, without Foundation.
func decimal(_ value: Double) -> String {
    let hundredths = Int((value * 100).rounded())
    return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
}

/// Thousands apart.
func rate(_ value: Double) -> String {
    var text = ""
    for (index, digit) in "\(Int(value))".reversed().enumerated() {
        if index > 0, index % 3 == 0 { text = "," + text }
        text = String(digit) + text
    }
    return text
}
