import HTTP
import Wire

/// A server's side of one connection without the sockets: heads are parsed, bodies taken off, and what
/// happened is written down in the words of the request corpus.
struct ServerModel: ~Copyable {
    private var buffer = ByteBuffer()
    private var parser = RequestHeadParser()
    private var decoder = ChunkedDecoder()
    private enum State {
        case head
        case length(Int64)
        case chunked, failed
    }
    private var state = State.head
    private var receivedAny = false
    private(set) var outcomes: [String] = []
    /// The bodies in their order, the last perhaps unfinished.
    private(set) var bodies: [[UInt8]] = []

    static func outcomes(of pieces: [[UInt8]]) -> [String] {
        var server = ServerModel()
        for piece in pieces { server.receive(piece) }
        server.finish()
        return server.outcomes
    }

    mutating func receive(_ piece: [UInt8]) {
        if !piece.isEmpty { receivedAny = true }
        buffer.append(piece)
        while step() {}
    }

    mutating func finish() {
        if case .failed = state { return }
        if case .head = state, buffer.isEmpty, !outcomes.isEmpty { return }
        outcomes.append("incomplete")
    }

    /// - Returns: whether there may be more to do.
    private mutating func step() -> Bool {
        switch state {
        case .failed: return false
        case .head:
            guard !buffer.isEmpty else { return false }
            switch unsafe buffer.withReadable({ bytes in unsafe parser.parse(bytes) }) {
            case .needMore: return false
            case .failed(let error): return fail(error)
            case .complete(let count):
                buffer.consume(count)
                bodies.append([])
                if parser.head.isChunked {
                    decoder.reset()
                    state = .chunked
                } else {
                    state = .length(parser.head.contentLength ?? 0)
                }
                return true
            }
        case .length(let rest):
            let count = Int(min(rest, Int64(buffer.readableByteCount)))
            take(skipped: 0, count: count)
            state = .length(rest - Int64(count))
            guard rest == count else { return false }
            complete()
            return true
        case .chunked:
            switch unsafe buffer.withReadable({ bytes in unsafe decoder.next(bytes) }) {
            case .needMore(let consumed):
                buffer.consume(consumed)
                return false
            case .data(let skipped, let count):
                take(skipped: skipped, count: count)
                return true
            case .finished(let consumed):
                buffer.consume(consumed)
                complete()
                return true
            case .failed(let error): return fail(error)
            }
        }
    }

    private mutating func take(skipped: Int, count: Int) {
        let bytes = unsafe buffer.withReadable { unsafe Array($0[skipped..<(skipped + count)]) }
        bodies[bodies.count - 1] += bytes
        buffer.consume(skipped + count)
    }

    private mutating func complete() {
        outcomes.append("ok")
        state = .head
    }

    private mutating func fail(_ error: HTTPParseError) -> Bool {
        outcomes.append(String(error.status))
        state = .failed
        return false
    }
}
