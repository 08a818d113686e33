internal import HTTP
internal import System
internal import Wire

/// The body of an answer that came on an `OutboundConnection`, read as its consumer takes it. Reactor thread only.
final class OutboundReply: PollTarget, RedirectableProducer {
    private let reactor: Reactor
    private var transport: Transport?
    private var input: ByteBuffer
    private var framing: ResponseHead.BodyFraming
    private var decoder = ChunkedDecoder()
    private weak var consumer: (any BodyConsumer)?
    private var allowance = 0
    private var isWatching = false
    private var isPumping = false
    /// What is here is no whole piece of the framing.
    private var isStarved = false
    private var movedAt: Instant
    /// Kept until the body has ended.
    var slot: OutboundSlot?

    private static let readBytesMax = 64 << 10

    init(
        _ transport: consuming Transport, _ input: consuming ByteBuffer, _ framing: ResponseHead.BodyFraming, _ reactor: Reactor
    ) {
        self.transport = consume transport
        self.input = input
        self.framing = framing
        self.reactor = reactor
        movedAt = reactor.now
    }

    var hasBody: Bool {
        switch framing {
        case .none, .length(0): false
        case .length, .chunked, .untilClose: true
        }
    }

    /// `nil`: only its end will tell.
    var byteCount: Int64? {
        switch framing {
        case .none: 0
        case .length(let count): count
        case .chunked, .untilClose: nil
        }
    }

    // MARK: To the consumer

    func redirect(to consumer: any BodyConsumer) { self.consumer = consumer }

    func grant(_ byteCount: Int) {
        allowance += byteCount
        pump()
    }

    func cancel(_ reason: StreamReset) {
        consumer = nil
        close()
    }

    private func pump() {
        guard !isPumping else { return }
        isPumping = true
        defer { isPumping = false }
        while transport != nil, allowance > 0 {
            guard pass() else { return }
            guard transport != nil, allowance > 0, input.isEmpty || isStarved else { continue }
            guard let result = transport?.read(into: &input, upTo: Self.readBytesMax) else { return }
            switch result {
            case .moved:
                movedAt = reactor.now
                isStarved = false
            case .wouldBlock: return watch()
            case .closed: return ended()
            }
        }
        unwatch()
    }

    /// Hands on what is here.
    ///
    /// - Returns: false when it is over.
    private func pass() -> Bool {
        guard !input.isEmpty else { return true }
        switch framing {
        case .none: finish()
        case .untilClose: deliver(min(allowance, input.readableByteCount))
        case .length(let left):
            let count = Int(min(Int64(min(allowance, input.readableByteCount)), left))
            framing = .length(left - Int64(count))
            deliver(count)
            if left == Int64(count) { finish() }
        case .chunked: passChunks()
        }
        return transport != nil
    }

    /// No more than may be delivered is shown to the decoder, unless only trailers are left, which it takes as a whole.
    private func passChunks() {
        var step = unsafe input.withReadable { unsafe decoder.next(UnsafeRawBufferPointer(rebasing: $0.prefix(allowance))) }
        if step == .needMore(consumed: 0), input.readableByteCount > allowance {
            step = unsafe input.withReadable { unsafe decoder.next($0) }
        }
        switch step {
        case .needMore(let consumed):
            input.consume(consumed)
            isStarved = consumed == 0
        case .data(let skipped, let count):
            input.consume(skipped)
            deliver(count)
        case .finished: finish()
        case .failed(let error): fail("\(error)")
        }
    }

    private func deliver(_ count: Int) {
        guard count > 0 else { return }
        allowance -= count
        let consumer = consumer
        unsafe input.withReadable { unsafe consumer?.receive(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
        input.consume(count)
    }

    private func ended() {
        if case .untilClose = framing { finish() } else { fail("the server closed the connection within the body") }
    }

    // MARK: The connection

    override func becameReady(_ events: Epoll.Interest) { pump() }

    override func tick(_ now: Instant) {
        // Only while it is watched does the server keep anybody waiting.
        if now - movedAt >= reactor.outbound.timeouts.idle { fail("timed out (idle)") }
    }

    private func watch() {
        guard !isWatching, let number = transport?.rawValue else { return }
        movedAt = reactor.now
        do {
            try reactor.watch(self, number, .read)
            isWatching = true
        } catch {
            fail("\(error)")
        }
    }

    private func unwatch() {
        guard isWatching, let number = transport?.rawValue else { return }
        isWatching = false
        reactor.unwatch(self, number)
    }

    private func finish() {
        let consumer = consumer
        close()
        consumer?.finish()
    }

    private func fail(_ reason: String) {
        let consumer = consumer
        close()
        consumer?.fail(StreamReset(.internal, reason))
    }

    private func close() {
        unwatch()
        transport.take()?.close(isComplete: false)
        consumer = nil
        slot = nil
        input = ByteBuffer()
    }
}
