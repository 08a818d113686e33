internal import Interfaces
internal import Wire

/// Events of durable objects and of entrypoints.
extension EventLoop {
    func startObject(
        _ kind: CallKind, _ message: [UInt8], _ header: FrameHeader, _ channel: Channel
    ) throws(WireError) {
        guard let objects else { return try refuse("Durable Object", header, channel) }
        var decoder = WireDecoder(message)
        switch kind {
        case .objectOpen: try open(try ObjectOpenMessage(decoding: &decoder), objects, header, channel)
        case .objectClose:
            let message = try ObjectCloseMessage(decoding: &decoder)
            let event = try begin(.objectClose, header, channel)
            event.start {
                let reply = await objects.close(message)
                // What the object has said on other channels is on its way before the node hears that it is gone.
                while !self.flushed(allBut: channel) { try await event.sleep(for: .milliseconds(1)) }
                event.reply { $0.append(encoded { reply.encode(into: &$0) }) }
            }
        default:
            let head = try ObjectEventHead(decoding: &decoder)
            guard let scope = objects.scope(of: head.object.id) else {
                return replyFailure(ObjectFailures.connectionLost, header.stream, channel)
            }
            let event = try begin(.object, header, channel, scope: scope)
            event.hibernatingID = head.socket
            let rest = Array(message[decoder.offset...])
            switch kind {
            case .objectFetch: try fetch(rest, head, objects, event, header)
            case .objectCall: try call(rest, head, objects, event, header)
            case .objectAlarm:
                var decoder = WireDecoder(rest)
                let message = try ObjectAlarmMessage(decoding: &decoder)
                event.start {
                    let reply = try await instance(head, objects, event).alarm(message)
                    try await scope.output.pass()
                    event.reply { $0.append(encoded { reply.encode(into: &$0) }) }
                }
            default: try socket(rest, head, objects, event, header)
            }
        }
    }

    private func open(
        _ message: ObjectOpenMessage, _ objects: any ObjectHosting, _ header: FrameHeader, _ channel: Channel
    ) throws(WireError) {
        let event = try begin(.object, header, channel)
        let id = message.object.id
        do {
            let scope = objects.scope(of: id) ?? ObjectScope(name: hexadecimal(id), opener: event)
            try objects.prepare(message, scope)
            event.enter(scope)
            event.start {
                guard !message.hasMoreSockets else { return event.reply { _ in } }
                let reply = try objects.construct(id)
                // What the constructor has written is its own business: nobody has seen anything of it yet.
                event.reply { $0.append(encoded { reply.encode(into: &$0) }) }
            }
        } catch { event.start { throw error } }
    }

    private func fetch(
        _ message: [UInt8], _ head: ObjectEventHead, _ objects: any ObjectHosting, _ event: Invocation, _ header: FrameHeader
    ) throws(WireError) {
        let request = try request(message, event, header)
        event.start {
            let response = try await instance(head, objects, event).fetch(request)
            try await event.outputGate?.pass()
            try await event.respond(response, to: request)
        }
    }

    private func request(
        _ message: [UInt8], _ event: Invocation, _ header: FrameHeader
    ) throws(WireError) -> Request {
        let layout = try FetchLayout(message)
        return Request(
            RequestStorage(layout, block: message), headers: try layout.headers(message),
            body: layout.hasBody ? incomingBody(event, header, length: layout.bodyLength) : nil)
    }

    private func call(
        _ message: [UInt8], _ head: ObjectEventHead, _ objects: any ObjectHosting, _ event: Invocation, _ header: FrameHeader
    ) throws(WireError) {
        var decoder = WireDecoder(message)
        let message = try RPCMessage(decoding: &decoder)
        let body = incomingBody(event, header, length: nil)
        event.start { try await event.answer(message, body) { try instance(head, objects, event).methods } }
    }

    private func socket(
        _ message: [UInt8], _ head: ObjectEventHead, _ objects: any ObjectHosting, _ event: Invocation, _ header: FrameHeader
    ) throws(WireError) {
        var decoder = WireDecoder(message)
        let message = try ObjectSocketMessage(decoding: &decoder)
        let body = incomingBody(event, header, length: nil)
        event.start {
            let payload = try await body?.collect(upTo: RPCMessage.byteCountMax)
            let instance = try instance(head, objects, event)
            let deadline = instance.socketEventTimeout.map { milliseconds in
                event.loop.schedule(after: .milliseconds(milliseconds)) { event.cancelTask() }
            }
            defer { deadline?.cancel() }
            try await instance.socket(message, payload: payload)
            try await event.outputGate?.pass()
            event.reply { _ in }
        }
    }

    /// A typed call of a worker's entrypoint. In front of the message: the `props` of the caller's binding.
    func startEntrypoint(_ message: [UInt8], _ header: FrameHeader, _ channel: Channel) throws(WireError) {
        var decoder = WireDecoder(message)
        let props = try decoder.takeString()
        let message = try RPCMessage(decoding: &decoder)
        let event = try begin(.rpc, header, channel)
        let body = incomingBody(event, header, length: nil)
        let type = entrypoint(named: message.entrypoint)
        event.start {
            guard let type else { throw WorkersError.noEntrypoint(message.entrypoint) }
            let context = EntrypointContext(execution: ExecutionContext(event), props: props)
            try await event.answer(message, body) { try table(type, context, Env(event)) }
        }
    }

    /// A request to a worker's entrypoint.
    func startEntrypointFetch(_ message: [UInt8], _ header: FrameHeader, _ channel: Channel) throws(WireError) {
        var decoder = WireDecoder(message)
        let head = try EntrypointHead(decoding: &decoder)
        let event = try begin(.fetch, header, channel)
        let request = try request(Array(message[decoder.offset...]), event, header)
        let type = entrypoint(named: head.name)
        event.start {
            guard let type else { throw WorkersError.noEntrypoint(head.name) }
            guard let type = type as? any WorkerEntrypointFetchHandler.Type else { throw WorkersError.noHandler("fetch") }
            let context = EntrypointContext(execution: ExecutionContext(event), props: head.props)
            try await event.respond(try await fetchHandler(type, context, Env(event)).fetch(request), to: request)
        }
    }

    private func incomingBody(_ event: Invocation, _ header: FrameHeader, length: Int?) -> ByteStream? {
        guard !header.flags.contains(.end) else { return nil }
        let incoming = IncomingBody(
            channel: event.channel, stream: header.stream, isReply: false, isHeld: header.flags.contains(.heldBody))
        event.incoming = incoming
        return ByteStream(source: incoming, length: length)
    }
}

private func instance(
    _ head: ObjectEventHead, _ objects: any ObjectHosting, _ event: Invocation
) throws -> any ObjectInstance {
    // An event belongs to the incarnation that it came for.
    if let failure = event.scope?.failure { throw failure }
    guard let instance = objects.instance(head.object.id) else {
        throw objects.scope(of: head.object.id)?.failure ?? ObjectFailures.connectionLost
    }
    instance.noteName(head.object.name)
    return instance
}

private func table<E: WorkerEntrypoint>(_ type: E.Type, _ context: EntrypointContext, _ env: Env) throws -> RPCTable {
    RPCTable(try E(context: context, env: env))
}

private func fetchHandler<E: WorkerEntrypointFetchHandler>(
    _ type: E.Type, _ context: EntrypointContext, _ env: Env
) throws -> any WorkerEntrypointFetchHandler {
    try E(context: context, env: env)
}

private func encoded(_ write: (inout WireEncoder) -> Void) -> [UInt8] {
    var encoder = WireEncoder()
    write(&encoder)
    return encoder.bytes
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}
