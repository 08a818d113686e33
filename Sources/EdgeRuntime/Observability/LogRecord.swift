internal import Synchronization
package import System

package enum LogLevel: Int, Comparable, Sendable, CaseIterable {
    case trace, debug, info, notice, warning, error

    package static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }

    package init?(name: String) {
        guard let level = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
        self = level
    }
}

/// One line of the log.
package struct LogRecord: Sendable {
    package var time: UnixTime
    package var level: LogLevel
    package var message: String
    /// In the order they are printed. Values are never secrets.
    package var fields: [(name: String, value: String)]
}

/// Where records go. Implementations are safe on any thread and never block it.
package protocol LogSink: Sendable {
    func write(_ record: LogRecord)
}

/// What a part of the node logs with: a sink, a clock, a level and the fields that all its records carry.
package struct Logger: Sendable {
    private let sink: any LogSink
    private let clock: any NodeClock
    private let threshold: Threshold
    package var fields: [(name: String, value: String)] = []
    /// What goes over all messages and values of fields; `nil`: nothing is to be hidden.
    private var redactor: SecretRedactor?

    package init(sink: any LogSink, clock: any NodeClock, level: LogLevel) {
        self.sink = sink
        self.clock = clock
        threshold = Threshold(level)
    }

    /// Shared by all loggers that were made from one another.
    private final class Threshold: Sendable {
        let level: Atomic<Int>
        init(_ level: LogLevel) { self.level = Atomic(level.rawValue) }
    }

    /// Lets records of `level` and above through from now on, for this logger and all that were made from it or it from.
    package func setLevel(_ level: LogLevel) { threshold.level.store(level.rawValue, ordering: .relaxed) }

    package func with(_ name: String, _ value: String) -> Logger {
        var logger = self
        logger.fields.append((name, value))
        return logger
    }

    package func redacting(_ redactor: SecretRedactor?) -> Logger {
        var logger = self
        logger.redactor = redactor
        return logger
    }

    package func log(
        _ level: LogLevel, _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> [(name: String, value: String)] = []
    ) {
        guard level.rawValue >= threshold.level.load(ordering: .relaxed) else { return }
        var record = LogRecord(
            time: clock.wallTime(), level: level, message: message(), fields: self.fields + fields())
        if let redactor {
            record.message = redactor.redact(record.message)
            record.fields = record.fields.map { (redactor.redact($0.name), redactor.redact($0.value)) }
        }
        sink.write(record)
    }
}

/// Keeps records in memory, for tests and `edge status`.
package final class DiscardingSink: LogSink {
    package init() {}
    package func write(_ record: LogRecord) {}
}
