internal import Interfaces
internal import Wire

/// The first bytes of each call that an isolate makes.
enum CallPrefix {
    static let noBinding: UInt16 = 0xFFFF
    /// `u16 kind, u16 binding, u32 stream of the event that makes the call`.
    static let byteCount = 8
}

/// One call to the node: the reply's head is awaited, its body is read as far as somebody wants it.
final class OutgoingCall: StreamEndpoint, @unchecked Sendable {
    struct Reply {
        let message: [UInt8]
        let body: IncomingBody?
    }
    private var result: Result<Reply, any Error>?
    private var waiter: Waiter?
    /// Takes the reply where no task waits for it.
    var completion: ((Result<[UInt8], any Error>) -> Void)?
    /// Sends the call's own body, when that isn't in memory.
    private var upload: Task<Void, Never>?

    /// - Throws: what the node answered; `CancellationError` when the task was cancelled meanwhile.
    func reply() async throws -> Reply {
        if result == nil {
            await withTaskCancellationHandler {
                await Waiter.suspend(countedBy: loop) { suspended in
                    waiter = suspended
                    if Task.isCancelled { giveUp() }
                }
            } onCancel: {
                loop.onLoop { self.giveUp() }
            }
        }
        guard let result else { preconditionFailure("the waiter is woken only by settle") }
        return try result.get()
    }

    func startUpload(_ body: ByteStream, for invocation: Invocation) {
        upload = Task(executorPreference: invocation) {
            do {
                while let piece = try await body.next() { try await self.send(piece) }
                self.endUpload()
            } catch {
                body.cancel()
                self.uploadFailed(error)
            }
        }
    }

    private func endUpload() {
        upload = nil
        guard !isClosed else { return }
        channel.appendEnd(stream: stream)
    }

    private func uploadFailed(_ error: any Error) {
        upload = nil
        guard !isClosed else { return }
        sendReset(.cancelled)
        close(incoming: error)
        settle(.failure(error))
    }

    /// The reply isn't wanted any more.
    func abandon() {
        guard !isClosed else { return }
        sendReset(.cancelled)
        upload?.cancel()
        close(incoming: CancellationError())
    }

    private func giveUp() {
        guard result == nil else { return }
        abandon()
        settle(.failure(CancellationError()))
    }

    private func settle(_ result: Result<Reply, any Error>) {
        guard self.result == nil else { return }
        self.result = result
        if let completion {
            self.completion = nil
            completion(result.map(\.message))
        }
        guard let waiting = waiter else { return }
        waiter = nil
        waiting.wake()
    }

    // MARK: Frames from the node

    override func receivedOpen(_ flags: FrameFlags, _ payload: UnsafeRawBufferPointer) throws(WireError) {
        guard result == nil, let status = unsafe payload.first else {
            throw .unexpectedFrame(.open, stream: stream)
        }
        let message = unsafe Array(UnsafeRawBufferPointer(rebasing: payload[1...]))
        switch status {
        case 0:
            var body: IncomingBody?
            if !flags.contains(.end) {
                body = IncomingBody(channel: channel, stream: stream, isReply: true)
                incoming = body
            }
            settle(.success(Reply(message: message, body: body)))
        case 1:
            var decoder = WireDecoder(message)
            settle(.failure(try CallFailure(decoding: &decoder)))
        default: throw .invalidValue("reply status", offset: 0)
        }
        if flags.contains(.end) || status == 1 {
            upload?.cancel()
            close(incoming: CancellationError())
        }
    }

    override func receivedEnd() throws(WireError) {
        guard result != nil else { throw .unexpectedFrame(.end, stream: stream) }
        guard socket == nil else { return try super.receivedEnd() }
        try super.receivedEnd()
        upload?.cancel()
        close(incoming: CancellationError())
    }

    override func receivedReset(code: UInt16, message: String) {
        upload?.cancel()
        let error = message.isEmpty ? WorkersError.connectionLost : CallFailure(message)
        close(incoming: error)
        settle(.failure(error))
    }
}
