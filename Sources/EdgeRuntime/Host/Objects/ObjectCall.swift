internal import HTTP
internal import Interfaces
internal import System
internal import Wire

/// A call of a stub: a request to an object, or a typed call of one of its methods. It never leaves the reactor.
final class ObjectCall: ObjectEvent, CallActivity {
    private unowned let call: CallStream
    private let parent: EventStream
    private let isFetch: Bool
    private let message: [UInt8]
    /// Whether a body follows the message: it may have come and ended while the call waited.
    private let hasBody: Bool
    private let invocations: EventStream.Invocations
    private let number: SocketID

    /// - Parameter message: What stands behind the call's head.
    static func start(
        _ call: CallStream, of event: EventStream, _ head: CallHead, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        guard Int(head.binding) < event.worker.bindings.count,
            case .object(let namespace) = event.worker.bindings[Int(head.binding)]
        else { throw .invalidValue("number of a namespace", offset: 2) }
        var decoder = unsafe WireDecoder(Array(message))
        let reference = try ObjectCallHead(decoding: &decoder).object
        guard let id = ObjectID(reference.id) else { throw .invalidValue("object id", offset: 0) }
        // An isolate makes its ids itself, and may have made one up.
        guard namespace.space.knows(id, in: namespace) || id.belongs(to: namespace.key) else {
            call.answer(failure: ObjectFailure.invalidID)
            return nil
        }
        // Calls go on from object to object; each way has its end, however many there are beside each other.
        guard event.invocations.count < EventStream.Invocations.max else {
            call.answer(failure: .tooDeep)
            return nil
        }
        let isFetch = head.kind == .objectRequest
        var rest = decoder.takeRest()
        if isFetch {
            guard !rest.isEmpty else { throw .truncated(offset: 0) }
            rest.removeFirst()  // What the caller does with redirects.
        }
        let object = ObjectCall(call, parent: event, namespace, id, name: reference.name, isFetch: isFetch, rest)
        call.channel.reactor.objects.submit(object)
        return object
    }

    private init(
        _ call: CallStream, parent: EventStream, _ namespace: ObjectNamespace, _ id: ObjectID, name: String?, isFetch: Bool,
        _ message: [UInt8]
    ) {
        self.call = call
        self.parent = parent
        self.isFetch = isFetch
        self.message = message
        hasBody = call.hasBody
        let invocations = EventStream.Invocations()
        invocations.count = parent.invocations.count + 1
        invocations.hops = parent.invocations.hops
        self.invocations = invocations
        let reactor = call.channel.reactor
        number = isFetch && FetchMessage.asksForWebSocket(message) ? reactor.objects.nextSocketID() : SocketID(0)
        super.init(
            id, name: name, of: namespace, byteCount: message.count + 256, on: reactor, waitMax: ObjectLimits.waitMax)
    }

    override var socketNumber: SocketID { number }

    override func open(on channel: Channel, _ head: ObjectEventHead, _ server: ObjectSpace.Server) -> EventStream? {
        var encoder = WireEncoder()
        head.encode(into: &encoder)
        let front = encoder.bytes
        let kind: CallKind = isFetch ? .objectFetch : .objectCall
        let stream = channel.open(
            kind, flags: hasBody ? [] : .end,
            make: {
                EventStream(
                    number: $0, channel: channel, worker: server.worker, release: server.release, kind: kind, owner: self,
                    zone: parent.zone, invocations: invocations)
            },
            {
                $0.append(front)
                $0.append(message)
            })
        beginAccount(stream, server, caller: parent) {
            $0.append(front)
            $0.append(message)
        }
        if hasBody {
            stream.producer = call.connectBody(to: stream, window: 0)
            stream.requestBody()
        }
        return stream
    }

    override func answered(_ event: EventStream, _ message: UnsafeRawBufferPointer) throws(WireError) {
        guard isFetch else {
            call.answer(body: event.isLastFrame ? nil : .stream(event)) { unsafe $0.append(message) }
            return
        }
        let head = try ReplyHead(reading: unsafe message.bytes)
        guard !head.hibernates else { return try unsafe hibernate(event, head, message) }
        let body = try event.replyBody(head)
        let headers = unsafe UnsafeRawBufferPointer(rebasing: message.dropFirst(ReplyHead.byteCount))
        call.answer(body: body) { buffer in
            ReplyHead.write(
                status: head.status, hasBody: body != nil, bodyLength: head.bodyLength, isEncoded: head.isEncoded,
                headerCount: head.headerCount, into: &buffer)
            unsafe buffer.append(headers)
        }
    }

    /// The object keeps the WebSocket beyond its own life: the node has it from now on.
    private func hibernate(_ event: EventStream, _ head: ReplyHead, _ message: UnsafeRawBufferPointer) throws(WireError) {
        guard head.status == 101, number.rawValue != 0 else { throw .invalidValue("answer of an object", offset: 0) }
        var cursor = HeaderBlockCursor(count: head.headerCount, from: ReplyHead.byteCount)
        let end = try unsafe cursor.end(of: message.bytes)
        var decoder = unsafe WireDecoder(Array(message[end...]))
        let hibernation = try HibernationMessage(decoding: &decoder)
        try decoder.finish()
        let tags = hibernation.tags
        guard tags.count <= ObjectLimits.tagsMax, tags.allSatisfy({ $0.count <= ObjectLimits.tagLengthMax }),
            hibernation.attachment?.count ?? 0 <= ObjectLimits.attachmentBytesMax
        else { throw .invalidValue("tags or attachment of a WebSocket", offset: 0) }
        let state = ObjectSocketState(id: number, tags: tags, attachment: hibernation.attachment)
        guard space.addSocket(state, to: id, in: namespace) else {
            return call.answer(
                failure: CallFailure(
                    "only \(ObjectLimits.socketsMax) websockets can be accepted on a single Durable Object instance"))
        }
        // The call's other direction was the request's, and is the client's now, should the caller itself become that.
        event.disconnect()
        let socket = ObjectSocket(number, of: id, namespace, on: reactor)
        reactor.objects.sockets[number.rawValue] = socket
        let headers = unsafe UnsafeRawBufferPointer(rebasing: message[ReplyHead.byteCount..<end])
        call.answer(body: .hibernating(socket)) { buffer in
            ReplyHead.write(
                status: 101, hasBody: true, bodyLength: nil, isEncoded: false, headerCount: head.headerCount, into: &buffer)
            unsafe buffer.append(headers)
        }
    }

    override func failed(_ failure: CallFailure) { call.answer(failure: failure) }

    // MARK: CallActivity

    func callEnded(_ reason: StreamReset) { abandon(reason) }
}
