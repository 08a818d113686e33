internal import HTTP
internal import Wire

/// The request's body: bytes of the connection's input, pushed to whoever takes them.
extension HTTPStream: BodyProducer {
    func grant(_ byteCount: Int) {
        guard phase != .closed, requestBody.isPending else { return }
        continueIfExpected()
        bodyAllowance += byteCount
        pumpRequestBody()
        if phase != .closed { updateInterest() }
    }

    /// The consumer wants no more of the body; the answer decides what becomes of the connection.
    func cancel(_ reason: StreamReset) {
        bodyConsumer = nil
        retainedConsumer = nil
    }

    /// Pushes what has arrived and may be pushed.
    func pumpRequestBody() {
        guard !isPumping, exchange.unconsumedHead == 0 else { return }
        isPumping = true
        defer { isPumping = false }
        switch requestBody {
        case .none: break
        case .length: pumpSized()
        case .chunked: pumpChunked()
        case .untilEnd: pumpUntilEnd()
        }
    }

    private func pumpSized() {
        while case .length(let left) = requestBody, bodyAllowance > 0, !input.isEmpty {
            let count = Int(min(left, Int64(min(bodyAllowance, input.readableByteCount))))
            push(from: 0, count: count)
            input.consume(count)
            guard case .length = requestBody else { return }
            if left == Int64(count) { return finishRequestBody() }
            requestBody = .length(left: left - Int64(count))
        }
    }

    private func pumpChunked() {
        while case .chunked = requestBody, bodyAllowance > 0, !input.isEmpty {
            // No more than the allowance is looked at; framing inside it only makes the push smaller.
            let step = unsafe input.withReadable { bytes in
                unsafe chunked.next(UnsafeRawBufferPointer(rebasing: bytes.prefix(bodyAllowance)))
            }
            switch step {
            case .needMore(let consumed):
                input.consume(consumed)
                if consumed == 0 { return }
            case .data(let skipped, let count):
                exchange.bodyBytes += Int64(count)
                if exchange.bodyBytes > Int64(exchange.bodyBytesMax) {
                    return refuseBody(.bodyTooLarge(limit: exchange.bodyBytesMax))
                }
                push(from: skipped, count: count)
                input.consume(skipped + count)
            case .finished(let consumed):
                input.consume(consumed)
                noteBody(exchange.bodyBytes, of: exchange.bodyBytesMax)
                return finishRequestBody()
            case .failed(let error):
                return refuseBody(.badRequest(status: error.status, reason: error.description))
            }
        }
    }

    private func pumpUntilEnd() {
        while case .untilEnd = requestBody, bodyAllowance > 0, !input.isEmpty {
            let count = min(bodyAllowance, input.readableByteCount)
            exchange.bodyBytes += Int64(count)
            if exchange.bodyBytes > Int64(exchange.bodyBytesMax) {
                return refuseBody(.bodyTooLarge(limit: exchange.bodyBytesMax))
            }
            push(from: 0, count: count)
            input.consume(count)
        }
        guard case .untilEnd = requestBody, input.isEmpty, hasRequestEnded else { return }
        noteBody(exchange.bodyBytes, of: exchange.bodyBytesMax)
        finishRequestBody()
    }

    private func push(from offset: Int, count: Int) {
        guard count > 0 else { return }
        bodyAllowance -= count
        unsafe input.withReadable { bytes in
            unsafe bodyConsumer?.receive(UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)]))
        }
    }

    private func finishRequestBody() {
        requestBody = .none
        let consumer = bodyConsumer
        bodyConsumer = nil
        consumer?.finish()
        retainedConsumer = nil
    }

    /// The body can't be taken: nothing that comes on this connection can be understood any more.
    private func refuseBody(_ error: EdgeError) {
        requestBody = .none
        exchange.mustClose = true
        let consumer = bodyConsumer
        bodyConsumer = nil
        consumer?.fail(.cancelled)
        retainedConsumer = nil
        guard !exchange.isHeadSent else { return close() }
        cancelEvent(.cancelled, answering: error)
    }
}

/// The body of one request, in the hands of whoever it goes to. It outlives its request without touching the next one.
final class RequestBodyHandle: RedirectableProducer {
    private weak var connection: HTTPStream?
    private let ray: UInt64

    init(_ connection: HTTPStream) {
        self.connection = connection
        ray = connection.exchange.ray
    }

    private var present: HTTPStream? { connection?.exchange.ray == ray ? connection : nil }

    func redirect(to consumer: any BodyConsumer) { present?.bodyConsumer = consumer }
    func grant(_ byteCount: Int) { present?.grant(byteCount) }
    func cancel(_ reason: StreamReset) { present?.cancel(reason) }
}
