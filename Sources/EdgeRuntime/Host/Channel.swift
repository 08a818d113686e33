internal import Interfaces
internal import Isolates
internal import Stores
internal import System
internal import Wire

/// The socket between one reactor and one isolate, with its streams. Reactor thread only.
///
/// The node opens odd streams (events), the isolate even ones (calls). A frame that breaks a rule ends the
/// isolate, never the node.
final class Channel: PollTarget {
    let reactor: Reactor
    let isolate: Isolate
    /// The place among the isolate's channels: its reactor's number.
    let index: Int

    private var transport: Transport?
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var streams = StreamTable<ChannelStream>()
    private var nextEvent: UInt32 = 1
    private var lastCall: UInt32 = 0
    private var callCount = 0
    /// Events whose background work goes on after their answer.
    private var lingering: [UInt32: EventStream] = [:]
    private let ledger: EventLedger
    private var isDirty = false
    private var waitsForWritability = false
    /// When the isolate last took something while something was waiting for it.
    private var lastProgress: Instant
    /// How long events took, until the next tick.
    var latencies = LatencyTally()
    /// Whether anything was read since the last tick.
    private var hasRead = false
    /// New events go elsewhere: it is draining or broken.
    private(set) var isRetired = false

    /// What epoll watches.
    private var watched: Epoll.Interest = .read
    /// Frames may be in `input` that were not looked at, because the output was overfull.
    private var hasUnreadFrames = false

    /// Streams that could send more once `output` has been written.
    private var hungry: [ChannelStream] = []

    /// Output beyond which no new event is sent here, and no producer is asked for more.
    static let congestedByteCount = 1 << 20
    /// Output beyond which no more calls are read: an isolate that asks and asks without reading the answers must not fill the
    /// node's memory. It always reads, so this always ends.
    private static let overfullByteCount = 8 << 20
    /// Answers that wait for an isolate, in `output` or as bodies it has not begun to read; what is more is refused.
    static let heldBytesMax = 64 << 20
    private static let readBytesMax = 256 << 10
    /// More than a socket holds; an isolate that writes on and on is left to epoll.
    private static let readsMax = 64
    /// What all producers of one channel may push together before it is written, unless they are thousands.
    private static let promisedBytesInAll = 32 << 20
    /// Calls one isolate may have open on one channel: four for each event of the largest concurrency.
    static let callsMax = 4096
    /// An isolate that leaves its channel unread for so long is beyond help.
    static let unreadMax = Duration.seconds(10)

    /// Stream numbers beyond which the isolate is to be replaced: half of all.
    private let streamNumberToRecycle: UInt32
    static let streamNumberToRecycle = UInt32(1) << 30

    init(
        reactor: Reactor, isolate: Isolate, index: Int, descriptor: consuming Descriptor, ledger: EventLedger,
        streamNumberToRecycle: UInt32 = Channel.streamNumberToRecycle
    ) throws(SystemError) {
        self.streamNumberToRecycle = streamNumberToRecycle
        self.reactor = reactor
        self.isolate = isolate
        self.index = index
        self.ledger = ledger
        lastProgress = reactor.now
        let transport = Transport(descriptor)
        let rawValue = transport.rawValue
        self.transport = consume transport
        super.init()
        try reactor.watch(self, rawValue, .read)
    }

    var openStreamCount: Int { streams.count }
    /// Whether the isolate can still be told something.
    var isConnected: Bool { transport != nil }
    /// To be called when there is room again, once each.
    private var waitingForRoom: [() -> Void] = []
    func whenRoom(_ body: @escaping () -> Void) {
        waitingForRoom.append(body)
        markDirty()
    }
    var isCongested: Bool { output.readableByteCount > Self.congestedByteCount }
    private var isOverfull: Bool { output.readableByteCount > Self.overfullByteCount }
    /// Bodies of answers that are in memory and not on their way yet.
    var heldBodyBytes = 0
    var heldByteCount: Int { output.readableByteCount + heldBodyBytes }

    /// What one producer may be told to push before it is asked again: the isolate's credit alone would let it have
    /// gigabytes read for streams that it never takes.
    var promisedBytesMax: Int {
        max(16 << 10, min(WireLimits.initialCredit, Self.promisedBytesInAll / max(1, streams.count)))
    }

    /// Asks `stream` for more of its body once there is room.
    func waitForRoom(_ stream: ChannelStream) {
        guard !stream.isHungry else { return }
        stream.isHungry = true
        hungry.append(stream)
        markDirty()
    }

    /// Numbers are not used twice and end at 2³¹: the isolate is replaced, and what is open finishes with the other half.
    private func recycle() {
        guard !isRetired else { return }
        isRetired = true
        isolate.pool.recycle(isolate, because: "it has served long enough")
    }

    // MARK: Opening events

    /// Opens an event. `write` puts the message behind the call's kind.
    func open<Stream: ChannelStream>(
        _ kind: CallKind, flags: FrameFlags, make: (UInt32) -> Stream, _ write: (inout ByteBuffer) -> Void
    ) -> Stream {
        let number = nextEvent
        nextEvent += 2
        if nextEvent > streamNumberToRecycle { recycle() }
        let stream = make(number)
        streams.insert(stream, number)
        output.appendFrame(.open, stream: number, flags: flags) { buffer in
            buffer.appendLittleEndian(kind.rawValue)
            write(&buffer)
        }
        if flags.contains(.end) { stream.markSentEnd() }
        markDirty()
        return stream
    }

    /// Opens one of the node's own calls.
    func openControl(
        _ kind: CallKind, _ message: [UInt8], completion: @escaping (Result<[UInt8], StreamReset>) -> Void
    ) {
        _ = open(
            kind, flags: .end, make: { ControlStream(number: $0, channel: self, kind: kind, completion: completion) },
            { $0.append(message) })
    }

    // MARK: Frames to the isolate

    func sendReply(on stream: ChannelStream, flags: FrameFlags, _ write: (inout ByteBuffer) -> Void) {
        guard stream.isOpen else { return }
        guard output.readableByteCount < Self.heldBytesMax else {
            return stream.reset(StreamReset(.overloaded, "too many answers wait to be read"))
        }
        output.appendFrame(.open, stream: stream.number, flags: flags, write)
        markDirty()
        if flags.contains(.end) { stream.markSentEnd() }
    }

    func sendData(_ bytes: UnsafeRawBufferPointer, on stream: ChannelStream) {
        output.append(FrameHeader(.data, stream: stream.number, payloadByteCount: bytes.count))
        unsafe output.append(bytes)
        markDirty()
    }

    func sendEnd(on stream: ChannelStream) {
        output.append(FrameHeader(.end, stream: stream.number, payloadByteCount: 0))
        markDirty()
    }

    func sendCredit(_ byteCount: Int, on stream: ChannelStream) {
        output.append(FrameHeader(.credit, stream: stream.number, payloadByteCount: 4))
        output.appendLittleEndian(UInt32(clamping: byteCount))
        markDirty()
    }

    func sendReset(_ reason: StreamReset, on stream: ChannelStream) {
        output.appendFrame(.reset, stream: stream.number) { buffer in
            buffer.appendLittleEndian(reason.code.rawValue)
            // A thousand bytes that are no text may become three thousand.
            buffer.append(String(decoding: reason.message.utf8.prefix(1000), as: UTF8.self))
        }
        markDirty()
    }

    func forget(_ stream: ChannelStream) {
        if streams.remove(stream.number) != nil, stream.number & 1 == 0 { callCount -= 1 }
    }

    private func markDirty() {
        guard !isDirty else { return }
        isDirty = true
        reactor.markDirty(self)
    }

    /// Writes what has gathered; called once per turn.
    func flush() {
        isDirty = false
        guard transport != nil, !waitsForWritability else { return }
        guard let result = transport?.write(from: &output) else { return }
        switch result {
        case .moved: lastProgress = reactor.now
        case .wouldBlock: break
        case .closed: return fail()
        }
        waitsForWritability = !output.isEmpty
        if output.isEmpty, output.allocatedByteCount > Self.congestedByteCount { output.releaseIfEmpty() }
        watch()
        feed()
        // Calls that were left unread while there was too much to answer.
        if hasUnreadFrames, !isOverfull { reactor.later { [self] in readOn() } }
    }

    /// Asks the streams that waited for room for more.
    private func feed() {
        guard !isCongested else { return }
        if !waitingForRoom.isEmpty {
            let waiting = waitingForRoom
            waitingForRoom = []
            for body in waiting { body() }
        }
        guard !hungry.isEmpty else { return }
        let streams = hungry
        hungry = []
        for stream in streams {
            stream.isHungry = false
            stream.requestBody()
        }
    }

    private func watch() {
        var wanted: Epoll.Interest = isOverfull ? [] : .read
        if waitsForWritability { wanted.insert(.write) }
        guard wanted != watched, let rawValue = transport?.rawValue else { return }
        watched = wanted
        reactor.change(self, rawValue, wanted)
    }

    // MARK: Frames from the isolate

    override func becameReady(_ events: Epoll.Interest) {
        if events.isWritable {
            waitsForWritability = false
            flush()
        }
        if isOverfull {
            // Nothing is read for now; that the socket has failed must not be reported again and again.
            if events.isFailure { fail() }
            return watch()
        }
        guard events.isReadable else { return }
        readOnce()
    }

    /// - Returns: false when there was nothing to read.
    @discardableResult
    private func readOnce() -> Bool {
        guard let result = transport?.read(into: &input, upTo: Self.readBytesMax) else { return false }
        switch result {
        case .wouldBlock: return false
        case .closed:
            fail()
            return false
        case .moved: break
        }
        hasRead = true
        readOn()
        return true
    }

    /// Takes all that the isolate has written until now, unless there is too much to answer.
    func readAll() {
        var left = Self.readsMax
        while left > 0, !isOverfull, readOnce() { left -= 1 }
    }

    private func readOn() {
        do {
            try readFrames()
        } catch { broken(by: "\(error)") }
        if isOverfull { watch() }
    }

    /// The isolate has sent what no isolate may send: it is ended, whatever else it was doing.
    func broken(by reason: String) {
        guard transport != nil else { return }
        reactor.logger.log(.error, "isolate sent a malformed frame: \(reason)", isolate.logFields)
        isolate.kill(.malformedFrames(reason))
        fail()
    }

    private func readFrames() throws(WireError) {
        var consumed = 0
        hasUnreadFrames = false
        try unsafe input.withReadable { bytes throws(WireError) in
            while transport != nil {
                guard !isOverfull else {
                    hasUnreadFrames = true
                    return
                }
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[consumed...])
                guard let header = try FrameHeader.read(unsafe rest.bytes),
                    rest.count >= FrameHeader.byteCount + header.payloadByteCount
                else { return }
                let payload = unsafe UnsafeRawBufferPointer(
                    rebasing: rest[FrameHeader.byteCount..<(FrameHeader.byteCount + header.payloadByteCount)])
                consumed += FrameHeader.byteCount + header.payloadByteCount
                try unsafe receive(header, payload)
            }
        }
        input.consume(consumed)
    }

    private func receive(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws(WireError) {
        guard let stream = streams[header.stream] else {
            return try unsafe receiveOnUnknownStream(header, payload)
        }
        stream.isLastFrame = header.flags.contains(.end)
        switch header.kind {
        case .open: try unsafe stream.receivedOpen(payload)
        case .data: try unsafe stream.receivedData(payload)
        case .end: try stream.receivedEndFrame()
        case .credit: try stream.receivedCredit(Int(unsafe payload.bytes.littleEndianUInt32(at: 0)))
        case .reset: stream.receivedReset(unsafe StreamReset(decoding: payload).redacted(by: isolate.pool.redactor))
        }
        if header.flags.contains(.end), header.kind != .end, stream.isOpen { try stream.receivedEndFrame() }
    }

    private func receiveOnUnknownStream(
        _ header: FrameHeader, _ payload: UnsafeRawBufferPointer
    ) throws(WireError) {
        guard header.stream & 1 == 0 else {
            // An event that ended on this side while the isolate was still answering.
            guard header.stream < nextEvent else { throw .unexpectedFrame(header.kind, stream: header.stream) }
            if header.kind == .end || header.kind == .reset || header.flags.contains(.end) {
                lingering[header.stream]?.handlerEnded()
            }
            return
        }
        guard header.kind == .open, header.stream > lastCall else {
            guard header.stream <= lastCall else { throw .unexpectedFrame(header.kind, stream: header.stream) }
            return  // A call that was answered or reset meanwhile.
        }
        lastCall = header.stream
        if lastCall > streamNumberToRecycle { recycle() }
        let call = try CallHead(reading: unsafe payload.bytes)
        let event = streams[call.parent] as? EventStream ?? lingering[call.parent]
        guard callCount < Self.callsMax else {
            output.appendFrame(.reset, stream: header.stream) { buffer in
                buffer.appendLittleEndian(StreamReset.Code.overloaded.rawValue)
                buffer.append("too many calls are open at once")
            }
            return markDirty()
        }
        let rest = unsafe UnsafeRawBufferPointer(rebasing: payload[CallHead.byteCount...])
        guard call.kind != .log else { return try unsafe isolate.receiveLog(rest, from: event) }
        guard !call.kind.isOfObject else { return try unsafe receiveOfObject(call, rest, header, event) }
        guard !call.kind.isOneWay else { return try receiveOneWay(call, unsafe Array(rest), from: event) }
        guard let event, call.kind.isForStore else {
            let stream = try makeCallStream(header, event)
            if header.flags.contains(.requestBody) { guard try stream.takeRequestBody() else { return } }
            return try unsafe stream.start(call, rest)
        }
        guard !isolate.pool.isCutOff else {
            return try makeCallStream(header, event).answer(failure: CallFailure("The node is being replaced."))
        }
        guard event.countStoreCall(call) else {
            return try makeCallStream(header, event).answer(failure: CallFailure("Too many subrequests."))
        }
        let (service, question) = try unsafe (
            event.worker.store(call.binding, for: call.kind),
            StoreCall(
                call.kind, message: Array(rest), queries: call.kind == .d1Query ? event.queries : nil, zone: event.zone,
                listener: event.worker, binding: call.binding)
        )
        if header.flags.contains(.end), !header.flags.contains(.requestBody),
            try answerInPlace(question, service, header, event)
        {
            return
        }
        let stream = try makeCallStream(header, event)
        if header.flags.contains(.requestBody) { guard try stream.takeRequestBody() else { return } }
        stream.ask(service, question)
    }

    /// Takes what an isolate with objects says of them. No event need be open: it may come from what goes on behind all of them.
    private func receiveOfObject(
        _ call: CallHead, _ message: UnsafeRawBufferPointer, _ header: FrameHeader, _ event: EventStream?
    ) throws(WireError) {
        guard let objects = isolate.pool.objects else { throw .invalidValue("call kind", offset: 0) }
        guard call.kind == .objectAlarmTime else {
            return try objects.received(call.kind, unsafe Array(message), from: isolate, on: reactor)
        }
        let stream = try makeCallStream(header, event)
        objects.moveAlarm(try ObjectAlarmTimeMessage(unsafe Array(message)), from: isolate, for: stream)
    }

    /// Takes what is sent to a store without waiting for an answer. An event that is over, or has sent as much as it may, sends
    /// in vain: the SDK has said so to the one who can do something about it.
    private func receiveOneWay(_ call: CallHead, _ message: [UInt8], from event: EventStream?) throws(WireError) {
        guard let event, !isolate.pool.isCutOff, event.countOneWayCall(call) else { return }
        let service = try event.worker.store(call.binding, for: call.kind)
        do throws(CallFailure) {
            _ = try service.answerInPlace(StoreCall(call.kind, message: message))
        } catch {
            if error.isMalformedCall { broken(by: error.message) }
        }
    }

    private func makeCallStream(_ header: FrameHeader, _ event: EventStream?) throws(WireError) -> CallStream {
        let stream = CallStream(
            number: header.stream, channel: self, event: event,
            isLazy: header.flags.contains(.lazyBody))
        streams.insert(stream, header.stream)
        callCount += 1
        if header.flags.contains(.end) { try stream.receivedEndFrame() }
        return stream
    }

    /// Answers what its store answers without waiting; no stream comes to be unless the reply has a body.
    ///
    /// - Returns: false when there is something to wait for.
    private func answerInPlace(
        _ question: StoreCall, _ service: any StoreService, _ header: FrameHeader, _ event: EventStream
    ) throws(WireError) -> Bool {
        let reply: StoreReply
        do throws(CallFailure) {
            guard let found = try service.answerInPlace(question) else { return false }
            reply = found
        } catch {
            if error.isMalformedCall {
                broken(by: error.message)
                return true
            }
            output.appendFrame(.open, stream: header.stream, flags: .end) { error.writeReply(into: &$0) }
            markDirty()
            return true
        }
        if reply.body == nil {
            output.appendFrame(.open, stream: header.stream, flags: .end) { reply.writeHead(into: &$0) }
            markDirty()
        } else {
            try makeCallStream(header, event).answer(reply)
        }
        return true
    }

    // MARK: Who is open

    /// The call with this number, if it is open.
    func call(_ number: UInt32) -> CallStream? { streams[number] as? CallStream }

    /// Keeps `event` for the calls of its background work, or until its handler has ended.
    func linger(_ event: EventStream) { lingering[event.number] = event }
    func stopLingering(_ event: EventStream) { lingering[event.number] = nil }
    func noteBackgroundWork(_ look: DrainLook) {
        for event in lingering.values where event.hasBackgroundWork && look.means(event.release) { look.noteOpen() }
    }

    /// Closes the WebSockets that the isolate handles.
    func closeWebSockets() {
        for case let event as EventStream in streams.all where event.isSocket { event.restartSocket() }
    }

    /// Notes an event for the watchdog.
    func openLedger(_ number: UInt32, _ allowance: EventLedger.Allowance) -> EventLedger.Entry {
        ledger.open(stream: number, allowance)
    }
    func closeLedger(_ entry: EventLedger.Entry) { ledger.close(entry) }

    // MARK: The end

    /// No new events from now on; streams that are open go on.
    func retire() { isRetired = true }

    /// The socket is of no more use. Streams wait for `isolateExited`, which knows why.
    private func fail() {
        guard let transport = transport.take() else { return }
        isRetired = true
        reactor.unwatch(self, transport.rawValue)
        transport.close()
        isolate.channelFailed(self)
    }

    /// Ends all streams. The one that broke a limit is told so, the others that their isolate is gone.
    func isolateExited(_ exit: IsolateExit) {
        fail()
        for stream in streams.all { stream.lost(StreamReset(exit, channel: index, stream: stream.number)) }
        streams = StreamTable()
        // Whose handlers will say no more that they have ended.
        for event in lingering.values { event.trace?.end() }
        lingering = [:]
        hungry = []
        waitingForRoom = []
        output = ByteBuffer()
    }

    override func tick(_ now: Instant) {
        isolate.pool.latencies.add(&latencies)
        for event in lingering.values { event.checkHandler(now) }
        if !hasRead { input.releaseIfEmpty() }
        hasRead = false
        if output.isEmpty {
            lastProgress = now
        } else if now - lastProgress > Self.unreadMax {
            reactor.logger.log(.error, "isolate doesn't read its channel", isolate.logFields)
            isolate.kill(.unresponsive("its channel stays unread"))
        }
    }
}
