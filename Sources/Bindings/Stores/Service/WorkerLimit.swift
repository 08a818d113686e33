package import Interfaces

/// A limit that a worker is told of when it comes near: what remains is said before the documented error is.
package enum WorkerLimit: String, CaseIterable, Sendable {
    // Of an event or an isolate.
    case cpu = "ms of CPU time"
    case wall = "ms of wall time"
    case waitUntil = "ms of waitUntil work"
    case memory = "bytes of memory"
    case threads = "threads"
    // What an event asks for.
    case subrequests = "subrequests"
    case storeCalls = "calls of stores"
    case queries = "D1 queries"
    case dataPoints = "data points"
    case invocations = "worker invocations"
    case log = "bytes of log"
    // How large something is.
    case requestBody = "bytes of request body"
    case kvValue = "bytes of KV value"
    case kvMetadata = "bytes of KV metadata"
    case queueMessage = "bytes of queue message"
    case queueBatch = "bytes of queue batch"
    case statement = "bytes of SQL statement"
    case object = "bytes of R2 object"

    /// 80 % of `allowed`, and no more than it: what is above is refused, and needs no warning.
    package static func isNear(_ used: Int64, of allowed: Int64) -> Bool {
        used <= allowed && used >= allowed - allowed / 5 && allowed > 0
    }

    /// The count at which a warning is due of something that is counted one by one.
    package static func warningCount(of allowed: Int) -> Int { max(1, allowed - allowed / 5) }
}

/// Who wants to know that a worker comes near to a limit: whoever runs it. Safe on any thread, never waits.
package protocol LimitListener: AnyObject, Sendable {
    /// - Parameter call: The binding's number and what was asked of it; `nil` when no single call is at fault.
    func near(_ limit: WorkerLimit, used: Int64, allowed: Int64, call: (binding: UInt16, kind: CallKind)?)
}

extension StoreCall {
    /// Tells the worker when `used` is near to the limit. Costs two comparisons otherwise.
    package func note(_ used: Int, of limit: WorkerLimit, _ allowed: Int) {
        guard let listener, WorkerLimit.isNear(Int64(used), of: Int64(allowed)) else { return }
        listener.near(limit, used: Int64(used), allowed: Int64(allowed), call: (binding, kind))
    }
}
