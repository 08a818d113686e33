internal import Interfaces
internal import Wire

/// A WebSocket's way through the channel: a stream whose bytes are records (`Interfaces/Isolate/SocketRecords.swift`). Touched
/// by the loop's thread alone.
///
/// Towards the handler: credit goes back to the node when the handler has taken all that came, so what waits for it never
/// exceeds a window, and one message that is longer. Towards the node: what there is no credit for waits in `queue`.
///
/// Both sides say `close` once. Behind it, a call ends its direction at once; an event keeps it open as long as its handler has
/// the socket, because the event's own calls end with it.
final class SocketLine: @unchecked Sendable {
    let endpoint: StreamEndpoint
    var loop: EventLoop { endpoint.loop }
    private let end: SocketEnd
    /// In whose name records are sent that have to wait.
    private let invocation: Invocation
    private var isEvent: Bool { endpoint === invocation }

    private var records = SocketRecordReader()
    private var arriving: [UInt8] = []
    private var arrivingKind = SocketRecord.Kind.text
    private var isLastRecord = false
    private var creditLeft: Int
    private var creditOwed = 0

    private var queue: [[UInt8]] = []
    private(set) var queuedByteCount = 0
    private var sender: Task<Void, Never>?
    private var drainWaiters: [Waiter] = []
    private var hasSentClose = false
    private var hasSentEnd = false
    private var hasPeerEnded = false
    private var isOver = false

    /// - Parameter credit: What the node may send before it is granted more.
    init(_ end: SocketEnd, on endpoint: StreamEndpoint, for invocation: Invocation, credit: Int) {
        self.end = end
        self.endpoint = endpoint
        self.invocation = invocation
        creditLeft = credit
        endpoint.socket = self
    }

    // MARK: From the node

    func accepted() {
        guard creditLeft == 0, !isEvent, !endpoint.isClosed else { return }
        creditLeft = WireLimits.initialCredit
        endpoint.channel.appendCredit(WireLimits.initialCredit, stream: endpoint.stream)
    }

    func received(_ bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard bytes.count <= creditLeft else { throw .creditExceeded(stream: endpoint.stream) }
        creditLeft -= bytes.count
        creditOwed += bytes.count
        var offset = 0
        while let step = try records.next(unsafe bytes.bytes, from: &offset) {
            switch step {
            case .message(let kind, _, let isFinal):
                arrivingKind = kind
                isLastRecord = isFinal
            case .payload(let range, let isLast):
                unsafe arriving.append(contentsOf: bytes[range])
                if isLast, isLastRecord { deliver() }
            case .close(let close): end.closed(close)
            }
        }
        if end.isInboxEmpty { giveBack() }
    }

    private func deliver() {
        let message = arriving
        arriving = []
        if isEvent { invocation.renewAllowance() }
        end.deliver(arrivingKind == .text ? .text(String(decoding: message, as: UTF8.self)) : .binary(message))
    }

    /// Lets the node send more, in steps of a quarter window.
    func giveBack() {
        guard creditOwed >= WireLimits.initialCredit / 4, !endpoint.isClosed, !hasPeerEnded else { return }
        creditLeft += creditOwed
        endpoint.channel.appendCredit(creditOwed, stream: endpoint.stream)
        creditOwed = 0
    }

    func receivedEnd() {
        hasPeerEnded = true
        end.closed(.disconnected)
        if end.closing?.wasClean != true { close(SocketClose(code: nil)) }
        finishIfDone()
    }

    /// The stream is closed: nothing comes or goes any more.
    func endpointClosed() {
        end.closed(.disconnected)
        queue = []
        queuedByteCount = 0
        wakeDrained()
        finishIfDone()
    }

    // MARK: To the node

    func send(_ kind: SocketRecord.Kind, _ bytes: [UInt8]) {
        guard !hasSentClose, !endpoint.isClosed else { return }
        let byteCount = SocketRecord.headerByteCount + bytes.count
        if canSendAtOnce(byteCount) {
            endpoint.sendCredit -= byteCount
            return endpoint.channel.output.appendFrame(.data, stream: endpoint.stream) { output in
                output.appendSocketHeader(kind, byteCount: bytes.count, isFinal: true)
                output.append(bytes)
            }
        }
        var record = ByteBuffer()
        record.appendSocketHeader(kind, byteCount: bytes.count, isFinal: true)
        record.append(bytes)
        append(unsafe record.withReadable { unsafe Array($0) })
    }

    func close(_ close: SocketClose) {
        guard !hasSentClose, !endpoint.isClosed else { return }
        hasSentClose = true
        defer { finishIfDone() }
        var record = ByteBuffer()
        record.appendSocketClose(close)
        append(unsafe record.withReadable { unsafe Array($0) })
        endIfCall()
    }

    private func canSendAtOnce(_ byteCount: Int) -> Bool {
        sender == nil && endpoint.outputGate?.isOpen != false && !endpoint.channel.isFull
            && byteCount <= min(endpoint.sendCredit, WireLimits.dataPayloadBytesMax)
    }

    private func append(_ record: [UInt8]) {
        if canSendAtOnce(record.count) {
            endpoint.sendCredit -= record.count
            return endpoint.channel.appendData(record[...], stream: endpoint.stream, end: false)
        }
        queue.append(record)
        queuedByteCount += record.count
        guard sender == nil else { return }
        sender = Task(executorPreference: invocation) { await self.sendQueue() }
    }

    private func sendQueue() async {
        while !queue.isEmpty, !endpoint.isClosed {
            let records = queue
            queue = []
            for record in records {
                do { try await endpoint.send(record) } catch { break }
                queuedByteCount -= min(queuedByteCount, record.count)
            }
        }
        sender = nil
        if endpoint.isClosed { queuedByteCount = 0 }
        wakeDrained()
        endIfCall()
        finishIfDone()
    }

    func drained() async throws {
        while sender != nil {
            try Task.checkCancellation()
            await withTaskCancellationHandler {
                await Waiter.suspend(countedBy: loop) { waiter in
                    drainWaiters.append(waiter)
                    if Task.isCancelled { wakeDrained() }
                }
            } onCancel: {
                loop.onLoop { self.wakeDrained() }
            }
        }
    }

    private func wakeDrained() {
        let woken = drainWaiters
        drainWaiters = []
        for waiter in woken { waiter.wake() }
    }

    /// The other side takes too little: the connection ends here.
    func giveUp() {
        guard !endpoint.isClosed else { return }
        end.closed(SocketClose(code: 1013, reason: "the client reads too slowly", wasClean: false))
        endpoint.sendReset(.overloaded, "the WebSocket's client reads too slowly")
        endpoint.close(incoming: CancellationError())
    }

    // MARK: The end

    private func endIfCall() {
        guard !isEvent, hasSentClose, sender == nil, !hasSentEnd, !endpoint.isClosed else { return }
        hasSentEnd = true
        endpoint.channel.appendEnd(stream: endpoint.stream)
    }

    /// Ends the stream when everything was said, and, of an event, when its handler is done with the socket.
    func finishIfDone() {
        guard !isOver else { return }
        if isEvent, end.isHeld { return }
        if !endpoint.isClosed {
            guard hasPeerEnded, hasSentClose, sender == nil else { return }
            isOver = true
            if isEvent { invocation.endOfSocket() }
            if !hasSentEnd { endpoint.channel.appendEnd(stream: endpoint.stream) }
            hasSentEnd = true
            endpoint.close(incoming: CancellationError())
        }
        isOver = true
        endpoint.socket = nil
        end.unlink()
        if isEvent { invocation.socketEnded() }
    }

    /// The node takes the connection, of which nothing has come here yet.
    func passOn() {
        isOver = true
        endpoint.socket = nil
        end.unlink()
        endpoint.close(incoming: CancellationError())
    }
}
