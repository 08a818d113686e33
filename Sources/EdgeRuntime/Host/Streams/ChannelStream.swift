internal import Wire

/// One stream of a channel, seen from the node: the accounting that both kinds share. Reactor thread only.
///
/// As a `BodyProducer` it gives the body that the isolate sends; as a `BodyConsumer` it sends a body to the isolate.
class ChannelStream: BodyConsumer, BodyProducer {
    final let number: UInt32
    /// Strong: what a stream began (a store's work) can end after its isolate, when nobody else holds the
    /// channel. The channel lets go of its streams when they close or the isolate ends.
    final let channel: Channel

    /// Bytes that may still be sent to the isolate.
    private final var sendCredit: Int
    /// Bytes that the isolate may still send.
    private final var receiveCredit: Int
    /// Granted by the consumer but not yet told to the isolate.
    private final var ungranted = 0

    final private(set) var sentEnd = false
    final private(set) var receivedEnd = false
    final private(set) var isOpen = true

    /// Where the isolate's body goes; bytes that come before it is known wait in `early`.
    private final weak var consumer: (any BodyConsumer)?
    private final var hasConsumer = false
    private final var early = ByteBuffer()
    private final var earlyEnd = false
    /// What feeds the body to the isolate.
    final weak var producer: (any BodyProducer)?

    init(number: UInt32, channel: Channel, sendCredit: Int, receiveCredit: Int) {
        self.number = number
        self.channel = channel
        self.sendCredit = sendCredit
        self.receiveCredit = receiveCredit
    }

    // MARK: What kinds of streams add

    /// The isolate's `open` in the other direction. `payload` is valid during the call only.
    func receivedReply(_ payload: UnsafeRawBufferPointer) throws(WireError) {
        throw .unexpectedFrame(.open, stream: number)
    }

    /// The stream has ended early: by the isolate's reset, or with its isolate.
    func wasReset(_ reason: StreamReset) {}

    /// The isolate granted bytes while nothing was flowing.
    func creditArrived() {}

    /// Both directions have ended in good order, or the stream was reset by this side.
    func closed() {}

    // MARK: Frames from the isolate

    final func receivedData(_ bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard !receivedEnd else { throw .unexpectedFrame(.data, stream: number) }
        receiveCredit -= bytes.count
        guard receiveCredit >= 0 else { throw .creditExceeded(stream: number) }
        if let consumer {
            unsafe consumer.receive(bytes)
        } else if !hasConsumer {
            unsafe early.append(bytes)
        }  // Else the consumer is gone: the rest is of no use to anyone.
    }

    final func receivedEndFrame() throws(WireError) {
        guard !receivedEnd else { throw .unexpectedFrame(.end, stream: number) }
        receivedEnd = true
        if hasConsumer { consumer?.finish() } else { earlyEnd = true }
        closeIfDone()
    }

    final func receivedCredit(_ byteCount: Int) throws(WireError) {
        sendCredit += byteCount
        guard sendCredit <= WireLimits.creditMax else { throw .creditExceeded(stream: number) }
        if let producer { producer.grant(byteCount) } else { creditArrived() }
    }

    final func receivedReset(_ reason: StreamReset) {
        guard isOpen else { return }
        isOpen = false
        channel.forget(self)
        endFlows(reason)
        wasReset(reason)
    }

    /// The isolate is gone.
    final func lost(_ reason: StreamReset) {
        guard isOpen else { return }
        isOpen = false
        endFlows(reason)
        wasReset(reason)
    }

    // MARK: The body from the isolate

    /// Connects the body that the isolate sends to `consumer`, which can take `window` bytes at once.
    final func connect(to consumer: any BodyConsumer, window: Int) {
        self.consumer = consumer
        hasConsumer = true
        grant(window - early.readableByteCount - max(0, receiveCredit))
        if !early.isEmpty {
            unsafe early.withReadable { unsafe consumer.receive($0) }
            early.consume(early.readableByteCount)
            early.releaseIfEmpty()
        }
        if earlyEnd { consumer.finish() }
    }

    final func grant(_ byteCount: Int) {
        ungranted += byteCount
        // A credit frame for every few bytes would cost more than the bytes.
        guard isOpen, !receivedEnd, ungranted >= 32 << 10 || (receiveCredit <= 0 && ungranted > 0) else { return }
        channel.sendCredit(ungranted, on: self)
        receiveCredit += ungranted
        ungranted = 0
    }

    final func cancel(_ reason: StreamReset) {
        consumer = nil
        hasConsumer = true
        reset(reason)
    }

    // MARK: The body to the isolate

    /// Bytes that a producer may push at once.
    final var window: Int { sendCredit }

    final func receive(_ bytes: UnsafeRawBufferPointer) {
        guard isOpen, !sentEnd else { return }
        sendCredit -= bytes.count
        var rest = unsafe bytes[...]
        while unsafe !rest.isEmpty {
            let piece = unsafe rest.prefix(WireLimits.dataPayloadBytesMax)
            unsafe channel.sendData(UnsafeRawBufferPointer(rebasing: piece), on: self)
            unsafe rest = rest.dropFirst(piece.count)
        }
    }

    final func finish() {
        guard isOpen, !sentEnd else { return }
        channel.sendEnd(on: self)
        markSentEnd()
    }

    final func fail(_ reason: StreamReset) { reset(reason) }

    /// Nothing more goes to the isolate (an `open` or `data` frame that carried the end flag, or `end`).
    final func markSentEnd() {
        sentEnd = true
        closeIfDone()
    }

    /// Ends both directions from this side.
    final func reset(_ reason: StreamReset) {
        guard isOpen else { return }
        isOpen = false
        channel.sendReset(reason, on: self)
        channel.forget(self)
        endFlows(reason)
        closed()
    }

    private final func closeIfDone() {
        guard isOpen, sentEnd, receivedEnd else { return }
        isOpen = false
        channel.forget(self)
        closed()
    }

    private final func endFlows(_ reason: StreamReset) {
        if !receivedEnd { consumer?.fail(reason) }
        if !sentEnd { producer?.cancel(reason) }
        consumer = nil
        producer = nil
    }
}
