internal import Interfaces
internal import Wire

/// The isolate's end of one stream. Touched by the loop's thread alone, as are its subclasses.
///
/// States: open until either side resets it or both have ended it; then `isClosed`, out of the channel's table, and
/// deaf: frames that were still on their way to it are dropped.
class StreamEndpoint: @unchecked Sendable {
    final let channel: Channel
    final let stream: UInt32
    /// Body bytes that the node still takes in this direction.
    final var sendCredit = WireLimits.initialCredit
    private final var sendWaiter: Waiter?
    /// What arrives in the other direction; `nil` when nothing does or nobody wants it.
    final var incoming: IncomingBody?
    /// What it sends waits for its object's writes.
    final var outputGate: OutputGate?
    /// The stream carries a WebSocket.
    final var socket: SocketLine?
    final private(set) var isClosed = false

    final var loop: EventLoop { channel.loop }

    init(channel: Channel, stream: UInt32) {
        self.channel = channel
        self.stream = stream
    }

    // MARK: Frames from the node

    func receivedOpen(_ flags: FrameFlags, _ payload: UnsafeRawBufferPointer) throws(WireError) {
        throw .unexpectedFrame(.open, stream: stream)
    }

    func receivedReset(code: UInt16, message: String) {}

    /// The node's direction has ended.
    func receivedEnd() throws(WireError) {
        if let socket { return socket.receivedEnd() }
        incoming?.finish()
        incoming = nil
    }

    final func receivedData(_ payload: UnsafeRawBufferPointer) throws(WireError) {
        if let socket { return try unsafe socket.received(payload) }
        try unsafe incoming?.received(payload)
    }

    final func receivedCredit(_ byteCount: Int) throws(WireError) {
        sendCredit += byteCount
        guard sendCredit <= WireLimits.creditMax else { throw .creditExceeded(stream: stream) }
        wakeSender()
    }

    // MARK: Closing

    /// Takes the stream out of the table. Nothing is sent.
    ///
    /// - Parameter error: what reading more of the body throws; made only when there is one.
    final func close(incoming error: @autoclosure () -> any Error) {
        guard !isClosed else { return }
        isClosed = true
        channel.streams.remove(stream)
        if let incoming { incoming.fail(error()) }
        incoming = nil
        wakeSender()
        socket?.endpointClosed()
    }

    final func sendReset(_ code: ResetCode, _ message: String = "") {
        guard !isClosed else { return }
        channel.output.appendFrame(.reset, stream: stream) { buffer in
            buffer.appendLittleEndian(code.rawValue)
            buffer.append(Array(message.utf8.prefix(1000)))
        }
    }

    // MARK: Sending a body

    /// Sends `bytes` as data frames, waiting for credit and for room in the channel.
    ///
    /// - Throws: `CancellationError` when the task was cancelled or the stream is closed.
    final func send(_ bytes: [UInt8], end: Bool = false) async throws {
        try await outputGate?.pass()
        var offset = 0
        repeat {
            while !isClosed, sendCredit == 0 || channel.isFull {
                try Task.checkCancellation()
                await waitToSend()
            }
            guard !isClosed else { throw CancellationError() }
            let count = min(bytes.count - offset, sendCredit, WireLimits.dataPayloadBytesMax)
            sendCredit -= count
            let isLast = offset + count == bytes.count
            channel.appendData(bytes[offset..<(offset + count)], stream: stream, end: end && isLast)
            offset += count
        } while offset < bytes.count
    }

    private final func waitToSend() async {
        if sendCredit > 0 { channel.waitingSenders.append(self) }
        await withTaskCancellationHandler {
            await Waiter.suspend(countedBy: loop) { waiter in
                sendWaiter = waiter
                if Task.isCancelled { wakeSender() }
            }
        } onCancel: {
            loop.onLoop { self.wakeSender() }
        }
    }

    final func wakeSender() {
        guard let waiter = sendWaiter else { return }
        sendWaiter = nil
        waiter.wake()
    }
}

/// Why a stream is reset, as the node understands it.
enum ResetCode: UInt16 {
    case cancelled = 0
    case exception = 1
    case exceededCPU = 2
    case hung = 4
    case overloaded = 5
    case internalError = 6
}
