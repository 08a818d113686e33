internal import Interfaces

/// Structured lines for the node's log, attributed to the event.
///
/// Writing never waits. An event may write 256 KiB; one line then says that the rest was dropped.
public struct Log: Sendable {
    public enum Level: UInt8, Sendable {
        case debug = 0
        case info, log, warn, error
    }

    private let invocation: Invocation

    init(_ invocation: Invocation) { self.invocation = invocation }

    public func debug(_ text: String, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.debug, text, fields)
    }
    public func info(_ text: String, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.info, text, fields)
    }
    public func log(_ text: String, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.log, text, fields)
    }
    public func warn(_ text: String, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.warn, text, fields)
    }
    public func error(_ text: String, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.error, text, fields)
    }

    public func write(_ level: Level, _ text: String, _ fields: KeyValuePairs<String, String> = [:]) {
        invocation.log(
            LogMessage(
                level: level.rawValue, text: text, fields: fields.map { (name: $0.key, value: $0.value) }))
    }
}
