/// What is counted of a release, for each of its workers. All of it only rises.
package enum MeterCounter: Int, CaseIterable, Sendable {
    // Requests that came in for the worker.
    case started
    /// Answered to the last byte.
    case finished
    /// The isolate was gone before it had answered; another one got the request.
    case retried
    /// Went on to another release, because this one had ended.
    case moved
    /// The answer broke off.
    case cutShort
    /// The client left.
    case abandoned

    // How they were answered.
    case status1xx, status2xx, status3xx, status4xx, status5xx
    /// By the handler: neither files nor the cache nor the node had the answer.
    case handled
    /// By the handler, with 5xx.
    case handlerErrors
    /// The handler threw: 1101.
    case exceptions
    /// It used too much: 1102.
    case exceededLimits
    /// 503: no isolate for it.
    case noIsolate
    /// 524: it took too long.
    case timedOut
    /// 52x of the server behind the worker, and whatever else of 5xx is the node's.
    case otherErrors

    // Messages of queues.
    case messages
    case messageRetries

    // Events that no client sent: calls of other workers, and whatever durable objects get.
    case calls
    /// Those that failed: the code threw, used too much, was reset, or answered a request with 5xx.
    case callErrors

    // Isolates.
    case events
    case cpuMicroseconds
    /// Ended by themselves, or had to be ended.
    case crashes
    /// Never became ready.
    case failedStarts

    /// As JSON and metrics name it.
    package var name: String {
        "\(self)".reduce(into: "") { $0 += $1.isUppercase ? "_\($1.lowercased())" : String($1) }
    }
}

/// What was counted until now, or between two moments.
package struct MeterReading: Equatable, Sendable {
    private var counts = [Int64](repeating: 0, count: MeterCounter.allCases.count)
    /// How long handlers took until their answer began, waiting for an isolate included.
    package var latencies = LatencyDistribution()
    /// How long calls took, from when they were handed over.
    package var callLatencies = LatencyDistribution()

    // As of now.
    /// The versions, joined by `+` when there are several: what isolates did is told of these, whichever release it was for.
    package var version = ""
    package var isolateCount = 0
    /// Those that leave a health event without an answer.
    package var silentIsolateCount = 0
    /// Isolates that ended by themselves within the last minute.
    package var recentExitCount = 0
    /// The most that an isolate uses of its memory.
    package var memoryShare = 0.0

    package init() {}

    package subscript(counter: MeterCounter) -> Int64 {
        get { counts[counter.rawValue] }
        set { counts[counter.rawValue] = newValue }
    }

    /// Requests that tell of the code: those that a handler, or the node in its place, has answered.
    package var requestCount: Int64 { self[.handled] + hostErrorCount }
    /// Answers of 5xx, of the handler's making or the node's, and those that broke off.
    package var errorCount: Int64 { self[.handlerErrors] + hostErrorCount + self[.cutShort] }

    private var hostErrorCount: Int64 {
        self[.exceptions] + self[.exceededLimits] + self[.noIsolate] + self[.timedOut] + self[.otherErrors]
    }

    /// Requests that have neither been answered nor given up.
    package var openCount: Int64 {
        max(0, self[.started] - self[.finished] - self[.moved] - self[.cutShort] - self[.abandoned])
    }

    package static func += (a: inout MeterReading, b: MeterReading) {
        for index in a.counts.indices { a.counts[index] += b.counts[index] }
        a.latencies += b.latencies
        a.callLatencies += b.callLatencies
        if a.version.isEmpty {
            a.version = b.version
        } else if !b.version.isEmpty, a.version != b.version {
            a.version += "+\(b.version)"
        }
        a.isolateCount += b.isolateCount
        a.silentIsolateCount += b.silentIsolateCount
        a.recentExitCount += b.recentExitCount
        a.memoryShare = max(a.memoryShare, b.memoryShare)
    }

    /// What came between; the rest as `a` has it.
    package static func - (a: MeterReading, b: MeterReading) -> MeterReading {
        var difference = a
        for index in a.counts.indices { difference.counts[index] -= b.counts[index] }
        difference.latencies = a.latencies - b.latencies
        difference.callLatencies = a.callLatencies - b.callLatencies
        return difference
    }
}
