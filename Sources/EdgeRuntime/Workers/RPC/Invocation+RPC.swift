internal import Interfaces
internal import Wire

// The message of an answer: a byte, 0 where the result follows, 1 where it is the answer's body instead.

extension Invocation {
    /// Answers a typed call.
    ///
    /// - Parameter methods: Of whom; asked for once the arguments are there.
    func answer(_ message: RPCMessage, _ body: ByteStream?, _ methods: () throws -> RPCTable) async throws {
        var arguments = RPCArguments(bytes: message.arguments, body: body)
        if message.hasArgumentsInBody {
            let bytes = try await body?.collect(upTo: RPCMessage.byteCountMax) ?? []
            arguments = RPCArguments(bytes: bytes, body: nil)
        }
        let result = try await methods().answer(message.method, arguments)
        guard result.bytes.count <= RPCMessage.byteCountMax else { throw WorkersError.tooLargeForRPC(result.bytes.count) }
        try await outputGate?.pass()
        guard result.bytes.count > RPCMessage.inlineByteCountMax else {
            return try await answer([0] + result.bytes, result.body)
        }
        guard result.body == nil else { throw WorkersError.tooLargeBesideStream(result.bytes.count) }
        try await answer([1], ByteStream(result.bytes))
    }

    private func answer(_ head: [UInt8], _ body: ByteStream?) async throws {
        guard let body else { return reply { $0.append(head) } }
        guard beginReply(head) else { return body.cancel() }
        do {
            while let piece = try await body.next() { try await send(piece) }
            try await outputGate?.pass()
            endReply()
        } catch {
            body.cancel()
            throw error
        }
    }

    /// Calls a method elsewhere.
    ///
    /// - Parameter head: Stands in front of the message.
    func invoke<Arguments, Result>(
        _ method: RPCMethod<Arguments, Result>, _ arguments: Arguments, body: ByteStream?, _ kind: CallKind, binding: UInt16,
        head: [UInt8] = []
    ) async throws -> RPCReply<Result> {
        let bytes = try BinaryValueEncoder.encode(arguments)
        guard bytes.count <= RPCMessage.byteCountMax else { throw WorkersError.tooLargeForRPC(bytes.count) }
        let isInline = bytes.count <= RPCMessage.inlineByteCountMax
        guard isInline || body == nil else { throw WorkersError.tooLargeBesideStream(bytes.count) }
        var message = WireEncoder(capacity: bytes.count + 64)
        message.putRest(head)
        RPCMessage(method: method.name, arguments: isInline ? bytes : [], hasArgumentsInBody: !isInline).encode(into: &message)
        let reply = try await perform(
            BindingCall(kind, binding: binding, message: message.bytes, body: isInline ? body : ByteStream(bytes)))
        let result: [UInt8]
        var rest = reply.body
        if reply.message.first == 1 {
            result = try await rest?.collect(upTo: RPCMessage.byteCountMax) ?? []
            rest = nil
        } else {
            result = Array(reply.message.dropFirst())
        }
        return RPCReply(try BinaryValueDecoder.decode(Result.self, from: result), body: rest)
    }
}
