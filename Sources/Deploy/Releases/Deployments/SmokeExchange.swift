internal import HTTP
internal import Host

/// One request and its answer, over a connection of its own. Blocks.
struct SmokeExchange {
    struct Answer: Equatable, Sendable {
        var status: Int
        /// Names in lower case.
        var headers: [(name: String, value: String)]
        /// At most `bodyBytesMax` of it.
        var body: [UInt8]

        static func == (a: Answer, b: Answer) -> Bool {
            a.status == b.status && a.body == b.body && a.headers.elementsEqual(b.headers) { $0 == $1 }
        }
    }

    enum Failure: Error, Equatable, Sendable {
        /// Nothing came in time.
        case late
        case malformed(String)
        /// It ended before the answer did.
        case ended
    }

    /// What tests look into; the rest is read and dropped.
    static let bodyBytesMax = 1 << 20

    private let socket: LoopbackSocket
    private let deadline: ContinuousClock.Instant
    private var received: [UInt8] = []

    init(_ socket: LoopbackSocket, before deadline: ContinuousClock.Instant) {
        self.socket = socket
        self.deadline = deadline
    }

    /// - Parameter request: with `Connection: close`.
    mutating func run(_ request: [UInt8], isHead: Bool) throws(Failure) -> Answer {
        // A peer that answers without reading all of it has still answered.
        _ = socket.write(request, before: deadline)
        var answer = try readHead()
        while (100...199).contains(answer.status) { answer = try readHead() }
        if isHead || answer.status == 204 || answer.status == 304 { return answer }
        func header(_ name: String) -> String? { answer.headers.first { $0.name == name }?.value }
        if header("transfer-encoding") != nil {
            answer.body = try readChunks()
        } else if let length = header("content-length").flatMap({ Int($0) }) {
            while received.count < min(length, Self.bodyBytesMax) {
                guard try readMore() else { throw .ended }
            }
            answer.body = Array(received.prefix(length))
        } else {
            while received.count < Self.bodyBytesMax, try readMore() {}
            answer.body = received
        }
        return answer
    }

    /// - Returns: false at the end.
    private mutating func readMore() throws(Failure) -> Bool {
        guard let bytes = socket.read(before: deadline) else { throw .late }
        received += bytes
        return !bytes.isEmpty
    }

    private mutating func readHead() throws(Failure) -> Answer {
        var parser = ResponseHeadParser()
        while true {
            switch unsafe parser.parse(received.span.bytes) {
            case .needMore: break
            case .failed(let error): throw .malformed("\(error)")
            case .complete(let count):
                var answer = Answer(status: parser.head.status, headers: [], body: [])
                for index in 0..<parser.head.fields.count {
                    let field = parser.head.fields[index]
                    answer.headers.append((text(field.name).lowercased(), text(field.value)))
                }
                received.removeFirst(count)
                return answer
            }
            guard try readMore() else { throw .ended }
        }
    }

    private func text(_ range: ByteRange) -> String {
        String(decoding: received[range.offset..<(range.offset + range.count)], as: UTF8.self)
    }

    private mutating func readChunks() throws(Failure) -> [UInt8] {
        var decoder = ChunkedDecoder()
        var body: [UInt8] = []
        while body.count < Self.bodyBytesMax {
            switch unsafe decoder.next(received.span.bytes) {
            case .needMore(let consumed):
                received.removeFirst(consumed)
                guard try readMore() else { throw .ended }
            case .data(let skipped, let count):
                body += received[skipped..<(skipped + count)]
                received.removeFirst(skipped + count)
            case .finished: return body
            case .failed(let error): throw .malformed("\(error)")
            }
        }
        return body
    }
}
