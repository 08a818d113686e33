import Glibc
import Interfaces
import Observability
import Stores
import Synchronization
import System

@testable import StoresAnalytics

/// A store in a fresh directory, on a clock that stands still at 2026-01-01T00:00:00Z.
final class AnalyticsFixture: @unchecked Sendable {  // Each test has its own; `store` changes only in `reopen`.
    let clock = VirtualClock()
    let path: String
    let log = RecordingSink()
    private let options: EmbeddedAnalyticsStore.Options
    private(set) var store: EmbeddedAnalyticsStore

    init(_ options: EmbeddedAnalyticsStore.Options = .init()) throws {
        var template = Array("/tmp/edge-points-XXXXXX".utf8CString)
        // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return "/nonexistent" }
            return unsafe String(cString: start)
        }
        self.options = options
        store = try Self.open(path, clock, log, options)
    }

    private static func open(
        _ path: String, _ clock: VirtualClock, _ log: RecordingSink, _ options: EmbeddedAnalyticsStore.Options
    ) throws -> EmbeddedAnalyticsStore {
        try EmbeddedAnalyticsStore(
            directory: path, clock: clock, logger: Logger(sink: log, clock: clock, level: .warning), options: options)
    }

    /// As after kill -9: nothing is closed, what is in memory is gone.
    func reopen() throws {
        store.crash()
        store = try Self.open(path, clock, log, options)
    }

    func files(_ dataset: String) -> [String] { FileTree.list("\(path)/\(dataset)") }

    func query(_ text: String) async throws -> String {
        String(decoding: try await store.query(text).body, as: UTF8.self)
    }

    /// The rows of a query, tab separated.
    func rows(_ text: String) async throws -> [String] {
        try await query(text + " FORMAT TabSeparated").split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            .map(String.init)
    }

    /// - Returns: what a query is refused with.
    func failure(_ text: String) async -> String {
        do {
            return "answered: \(try await query(text))"
        } catch { return "\(error)" }
    }

    deinit {
        for dataset in FileTree.list(path) {
            for file in files(dataset) { unsafe unlink("\(path)/\(dataset)/\(file)") }
            unsafe rmdir("\(path)/\(dataset)")
        }
        unsafe rmdir(path)
    }
}

/// Keeps the messages of a log.
final class RecordingSink: LogSink {
    private let lines = Mutex<[String]>([])
    var messages: [String] { lines.withLock { $0 } }
    func write(_ record: LogRecord) { lines.withLock { $0.append(record.message) } }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
