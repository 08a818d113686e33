// A body flows from a producer to a consumer on one reactor. The consumer grants bytes, the producer pushes no more than
// was granted: so a slow reader holds at most its window, whatever the body's size.

/// Takes a body's bytes. Reactor thread only.
protocol BodyConsumer: AnyObject {
    /// Takes `bytes`, which are valid during the call only. Never more than was granted.
    func receive(_ bytes: UnsafeRawBufferPointer)
    /// The body is complete.
    func finish()
    /// The body will not be complete.
    func fail(_ reason: StreamReset)
    /// The stream of a client, which says itself when it wants no more of a body.
    var httpStream: HTTPStream? { get }
}

extension BodyConsumer {
    var httpStream: HTTPStream? { nil }
}

/// Gives a body's bytes. Reactor thread only.
protocol BodyProducer: AnyObject {
    /// The consumer can take `byteCount` more bytes. May push before it returns.
    func grant(_ byteCount: Int)
    /// The consumer wants no more; it will not be called again.
    func cancel(_ reason: StreamReset)
}

/// A producer whose body can be given to somebody else as long as none of it was pushed.
protocol RedirectableProducer: BodyProducer {
    /// Nothing is pushed before the new consumer grants something.
    func redirect(to consumer: any BodyConsumer)
}

/// Why a stream ended before its time: the payload of a `reset` frame.
struct StreamReset: Error, Equatable, Sendable {
    enum Code: UInt16, Sendable {
        case cancelled = 0
        case exception = 1
        case exceededCPU = 2
        case exceededMemory = 3
        /// The handler can never answer: nothing is pending that could resume it.
        case hung = 4
        case overloaded = 5
        case `internal` = 6
    }
    var code: Code
    var message: String

    init(_ code: Code, _ message: String = "") {
        self.code = code
        self.message = message
    }

    static let cancelled = StreamReset(.cancelled)
}
