package import Observability
package import System

/// What is known of one event of a worker once it is over: what a tail shows (spec control-plane.md §7). Immutable.
package struct TraceEvent: Sendable {
    /// What started the event.
    package enum Cause: Sendable {
        case fetch(Request)
        case scheduled(cron: String, time: UnixTime)
        case queue(String, batchSize: Int)
        /// A durable object's, due at the time.
        case alarm(UnixTime)
        /// A typed call.
        case rpc(method: String)
        /// Something that an object hears of a WebSocket that hibernates.
        case socket(SocketEvent)

        /// As a log line names it.
        package var text: String {
            switch self {
            case .fetch(let request): "\(request.method) \(request.url)"
            case .scheduled(let cron, _): "cron \(cron)"
            case .queue(let queue, _): "queue \(queue)"
            case .alarm: "alarm()"
            case .rpc(let method): "\(method)()"
            case .socket(.message): "webSocketMessage()"
            case .socket(.close): "webSocketClose()"
            case .socket(.error): "webSocketError()"
            }
        }
    }

    package enum SocketEvent: Equatable, Sendable {
        case message
        case close(code: UInt16?, wasClean: Bool)
        case error
    }

    /// Which part of a worker the event is for.
    package enum Target: Equatable, Sendable {
        /// Its handlers.
        case worker
        case entrypoint(String)
        /// A durable object, of the class.
        case object(ObjectID, class: String)
    }

    /// As the worker got it. Nothing is hidden here yet: see `redactor`.
    package struct Request: Sendable {
        package let method: String
        package let url: String
        /// Names in lower case.
        package let headers: [(name: String, value: String)]

        package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    /// Its raw value is the word of the protocol.
    package enum Outcome: String, CaseIterable, Sendable {
        case ok, canceled, exception, exceededCpu, exceededMemory, unknown
    }

    /// Its raw value is the word of the protocol.
    package enum Level: String, Sendable {
        case debug, info, log, warn, error

        /// - Parameter number: As handlers number them.
        init(_ number: UInt8) {
            switch number {
            case 0: self = .debug
            case 1: self = .info
            case 2: self = .log
            case 3: self = .warn
            default: self = .error
            }
        }
    }

    package struct Log: Sendable {
        package let time: UnixTime
        package let level: Level
        package let text: String
        package let fields: [(name: String, value: String)]

        var byteCount: Int { fields.reduce(text.utf8.count + 64) { $0 + $1.name.utf8.count + $1.value.utf8.count + 8 } }
    }

    package struct Exception: Sendable {
        package let time: UnixTime
        package let name: String
        package let message: String
    }

    package struct Worker: Sendable {
        package let tenant: String
        package let name: String
        package let version: String
        /// Empty when its deployer called it nothing.
        package let versionTag: String
        /// Takes the worker's secrets out of whatever text is shown of the event; `nil`: it has none.
        package let redactor: SecretRedactor?
        /// Three letters.
        package let colo: String
    }

    package let worker: Worker
    package var target = Target.worker
    package let cause: Cause
    /// `nil`: it stands in no trace.
    package var span: TraceSpan?
    package let started: UnixTime
    /// From the start to the end of all background work.
    package let duration: Duration
    package let outcome: Outcome
    /// Of the answer to a request; `nil`: there was none.
    package let status: Int?
    package let logs: [Log]
    package let exceptions: [Exception]
    /// Whether there were more logs than are kept.
    package let isTruncated: Bool
    /// How much memory it takes, about.
    package let byteCount: Int
}

/// Wants the events of one worker. Called on reactors: nothing here may block.
package protocol TraceSink: AnyObject, Sendable {
    /// Asked first, before anything is known: whether the next event is one of those that are looked at.
    func takesSample() -> Bool
    /// Whether an event that starts so is worth gathering.
    func wants(_ cause: TraceEvent.Cause, of worker: TraceEvent.Worker) -> Bool
    func receive(_ event: TraceEvent)
}
