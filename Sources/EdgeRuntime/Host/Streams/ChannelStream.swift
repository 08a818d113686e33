internal import Wire

/// One stream of a channel, seen from the node: the accounting that both kinds share. Reactor thread only.
///
/// As a `BodyProducer` it gives the body that the isolate sends; as a `BodyConsumer` it sends a body to the isolate.
///
/// Both directions are counted the same way. What may be under way never exceeds what its receiver can take: towards the
/// isolate that is its credit and the channel's budget, from the isolate the allowance of the consumer.
class ChannelStream: BodyConsumer, RedirectableProducer {
    final let number: UInt32
    /// A strong reference: a call's task may answer after the isolate and its channel are gone. The circle through the
    /// channel's table ends when the stream leaves it.
    final let channel: Channel

    /// Bytes that may still be sent to the isolate.
    private final var sendCredit: Int
    /// Bytes that the producer was told it may push, and has not pushed yet. Never more than `sendCredit`.
    private final var promised = 0
    /// Bytes that the isolate may still send.
    private final var receiveCredit: Int
    /// Bytes that the consumer can take now.
    private final var allowance = 0

    final private(set) var sentEnd = false
    final private(set) var receivedEnd = false
    final private(set) var isOpen = true
    /// Whether the isolate's direction has begun: with the call, or with the answer to an event.
    final fileprivate(set) var hasPeerOpened: Bool

    /// Whether the frame that is being received is the isolate's last one here.
    final var isLastFrame = false

    /// Whether the isolate may send no body here.
    final var refusesBody = false

    /// Where the isolate's body goes. A client's stream is held until it has the end, or wants no more: a weak reference to it
    /// would give it a table of its counts, and each use of it from then on the long way there.
    private final var consumer: (any BodyConsumer)? {
        get { client ?? otherConsumer }
        set {
            client = newValue?.httpStream
            otherConsumer = client == nil ? newValue : nil
        }
    }
    private final var client: HTTPStream?
    private final weak var otherConsumer: (any BodyConsumer)?
    private final var hasConsumer = false
    /// Bytes that have come and that nobody could take yet: at most what the isolate had credit for.
    private final var early = ByteBuffer()
    private final var isDelivering = false
    /// What still comes is of no use to anyone, but its sender may finish.
    private final var isDiscarding = false
    private final var hasDeliveredEnd = false
    /// What feeds the body to the isolate; `requestBody` sets it to work.
    final weak var producer: (any BodyProducer)?
    /// The call whose event's body that is.
    final weak var bodyOrigin: CallStream?
    private final var hasBodyBegun = false
    /// Waits for the channel to have room for what the producer could push.
    final var isHungry = false

    /// A credit frame for every few bytes would cost more than the bytes.
    private static let creditStep = 32 << 10

    init(number: UInt32, channel: Channel, sendCredit: Int, receiveCredit: Int, hasPeerOpened: Bool) {
        self.number = number
        self.channel = channel
        self.sendCredit = sendCredit
        self.receiveCredit = receiveCredit
        self.hasPeerOpened = hasPeerOpened
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

    /// The isolate's direction has ended before the other one.
    func receivedEndWhileSending() {}

    /// Both directions have ended in good order, or the stream was reset by this side.
    func closed() {}

    // MARK: Frames from the isolate

    final func receivedOpen(_ payload: UnsafeRawBufferPointer) throws(WireError) {
        guard !hasPeerOpened else { throw .unexpectedFrame(.open, stream: number) }
        hasPeerOpened = true
        try unsafe receivedReply(payload)
    }

    final func receivedData(_ bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard hasPeerOpened, !receivedEnd, !refusesBody else { throw .unexpectedFrame(.data, stream: number) }
        receiveCredit -= bytes.count
        guard receiveCredit >= 0 else { throw .creditExceeded(stream: number) }
        guard hasConsumer else { return unsafe early.append(bytes) }
        guard !isDiscarding else {
            allowance -= bytes.count
            return grant(bytes.count)
        }
        // The consumer may be gone: then the rest is of no use to anyone.
        guard let consumer else { return }
        if early.isEmpty, bytes.count <= allowance {
            allowance -= bytes.count
            unsafe consumer.receive(bytes)
        } else {
            unsafe early.append(bytes)
            deliver()
        }
    }

    final func receivedEndFrame() throws(WireError) {
        guard hasPeerOpened, !receivedEnd else { throw .unexpectedFrame(.end, stream: number) }
        receivedEnd = true
        deliver()
        closeIfDone()
        if isOpen { receivedEndWhileSending() }
    }

    final func receivedCredit(_ byteCount: Int) throws(WireError) {
        sendCredit += byteCount
        guard sendCredit <= WireLimits.creditMax else { throw .creditExceeded(stream: number) }
        if producer != nil { requestBody() } else { creditArrived() }
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

    /// Connects the body that the isolate sends to `consumer`, which can take `window` bytes at once. What has come
    /// already is delivered before this returns.
    final func connect(to consumer: any BodyConsumer, window: Int) {
        self.consumer = consumer
        hasConsumer = true
        grant(window)
    }

    final func redirect(to consumer: any BodyConsumer) { connect(to: consumer, window: 0) }

    final func grant(_ byteCount: Int) {
        allowance += byteCount
        deliver()
        guard isOpen, !receivedEnd else { return }
        // What is under way and what waits here must fit what the consumer can take.
        let spare = allowance - receiveCredit - early.readableByteCount
        guard spare >= Self.creditStep || (receiveCredit == 0 && spare > 0) else { return }
        channel.sendCredit(spare, on: self)
        receiveCredit += spare
    }

    /// Hands on what waits, as far as the consumer can take it, then the end.
    private final func deliver() {
        guard let consumer, !isDelivering else { return }
        isDelivering = true
        while !early.isEmpty, allowance > 0 {
            let count = min(allowance, early.readableByteCount)
            allowance -= count
            unsafe early.withReadable { unsafe consumer.receive(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
            early.consume(count)
        }
        isDelivering = false
        guard early.isEmpty else { return }
        early.releaseIfEmpty()
        guard receivedEnd, !hasDeliveredEnd else { return }
        hasDeliveredEnd = true
        client = nil
        consumer.finish()
    }

    /// Its consumer is to hear no more of it.
    final func detachConsumer() {
        consumer = nil
        hasConsumer = true
    }

    func cancel(_ reason: StreamReset) {
        consumer = nil
        hasConsumer = true
        reset(reason)
    }

    /// Takes what still comes and forgets it, so that the isolate can finish.
    final func discardIncoming() {
        consumer = nil
        hasConsumer = true
        isDiscarding = true
        if !isDelivering {
            early.consume(early.readableByteCount)
            early.releaseIfEmpty()
        }
        grant(max(0, WireLimits.initialCredit - allowance))
    }

    // MARK: The body to the isolate

    /// Whether the isolate takes body bytes now.
    final var hasCredit: Bool { sendCredit > 0 }

    /// Tells the producer what it may push: no more than the isolate has granted, and no more than the channel may have
    /// waiting. A stream for which there is no room is told when there is.
    final func requestBody() {
        guard isOpen, !sentEnd, let producer else { return }
        let wanted = min(sendCredit, channel.promisedBytesMax) - promised
        guard wanted > 0, promised == 0 || wanted >= Self.creditStep else { return }
        guard !channel.isCongested else { return channel.waitForRoom(self) }
        promised += wanted
        hasBodyBegun = true
        producer.grant(wanted)
    }

    /// From now on `producer` gives the body. What the one before it might still have pushed is granted to it.
    final func replaceProducer(by producer: any BodyProducer) {
        self.producer = producer
        hasBodyBegun = true
        if promised > 0 { producer.grant(promised) }
        requestBody()
    }

    /// Nobody takes what the isolate sends any more, and nobody is told.
    final func disconnect() {
        consumer = nil
        hasConsumer = true
        producer = nil
    }

    /// Takes the body away that would go to the isolate, which hasn't asked for it. `nil` when it has, or there is none.
    final func takeBodyToIsolate() -> (any RedirectableProducer)? {
        guard isOpen, !sentEnd, !hasBodyBegun, let taken = producer as? any RedirectableProducer else { return nil }
        producer = nil
        bodyOrigin?.letRequestBodyGo()
        bodyOrigin = nil
        markSentEnd()
        return taken
    }

    final func receive(_ bytes: UnsafeRawBufferPointer) {
        guard isOpen, !sentEnd else { return }
        precondition(bytes.count <= promised, "a producer pushes no more than it was granted")
        sendCredit -= bytes.count
        promised -= bytes.count
        var rest = unsafe bytes[...]
        while unsafe !rest.isEmpty {
            let piece = unsafe rest.prefix(WireLimits.dataPayloadBytesMax)
            unsafe channel.sendData(UnsafeRawBufferPointer(rebasing: piece), on: self)
            unsafe rest = rest.dropFirst(piece.count)
        }
        // More once these are written: a turn's frames leave together.
        if sendCredit > 0 { channel.waitForRoom(self) }
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
        let (consumer, producer) = (consumer, producer)
        self.producer = nil
        // What came before the end was paid for and is delivered; a body that was cut short is not completed.
        if !receivedEnd {
            self.consumer = nil
            consumer?.fail(reason)
        }
        if !sentEnd { producer?.cancel(reason) }
    }
}
