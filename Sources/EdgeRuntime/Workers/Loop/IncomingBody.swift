internal import Interfaces
internal import Wire

/// A body that comes from the node, piece by piece, under credit.
///
/// The node may have `creditLeft` more bytes on their way. Credit is given back as pieces are taken, so what waits
/// here never exceeds `WireLimits.initialCredit`. The body of a lazy reply begins without credit and gets
/// it with the first read; until then the node can send it to the client itself (`canSplice`).
final class IncomingBody: ByteStreamSource, @unchecked Sendable {  // Owner: the loop's thread.
    let channel: Channel
    let stream: UInt32
    private enum State {
        case open
        case ended
        case failed(any Error)
    }
    private var state = State.open
    private var pieces: [[UInt8]] = []
    private var nextPiece = 0
    private var creditLeft: Int
    private var creditOwed = 0
    private var isStarted: Bool
    private var waiter: Waiter?
    /// Whether giving the body up also gives up its call.
    let isReply: Bool

    /// - Parameter isHeld: Whether the node waits to be asked for it; a reply's body always does.
    init(channel: Channel, stream: UInt32, isReply: Bool, isHeld: Bool = true) {
        self.channel = channel
        self.stream = stream
        self.isReply = isReply
        isStarted = !isHeld
        creditLeft = isHeld ? 0 : WireLimits.initialCredit
    }

    /// Whether the node has all of it, so that it can send it somewhere else itself.
    var canSplice: Bool {
        guard case .open = state else { return false }
        return !isStarted
    }

    // MARK: From the node

    func received(_ bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard bytes.count <= creditLeft else { throw .creditExceeded(stream: stream) }
        creditLeft -= bytes.count
        guard case .open = state, bytes.count > 0 else { return }
        unsafe pieces.append(Array(bytes))
        wake()
    }

    func finish() {
        if case .open = state { state = .ended }
        wake()
    }

    func fail(_ error: any Error) {
        if case .open = state { state = .failed(error) }
        wake()
    }

    // MARK: From the handler

    func next() async throws -> [UInt8]? {
        while true {
            if nextPiece < pieces.count {
                let piece = pieces[nextPiece]
                nextPiece += 1
                if nextPiece == pieces.count {
                    pieces.removeAll(keepingCapacity: true)
                    nextPiece = 0
                }
                giveBack(piece.count)
                return piece
            }
            switch state {
            case .ended: return nil
            case .failed(let error): throw error
            case .open: break
            }
            try Task.checkCancellation()
            if !isStarted {
                isStarted = true
                creditLeft = WireLimits.initialCredit
                channel.appendCredit(WireLimits.initialCredit, stream: stream)
            }
            await wait()
        }
    }

    func cancel() {
        guard channel.loop.isOnThread else { return channel.loop.onLoop { self.cancel() } }
        pieces = []
        nextPiece = 0
        guard case .open = state else { return }
        state = .failed(CancellationError())
        wake()
        guard isReply, let call = channel.streams[stream] as? OutgoingCall else { return }
        call.abandon()
    }

    /// Leaves it to the node, which sends it on itself.
    func splice() {
        state = .ended
        // The event of a request's body goes on, or ends by its own answer.
        if isReply { channel.streams[stream]?.close(incoming: CancellationError()) }
    }

    /// Credit goes out in steps of a quarter window: fewer frames, and the sender never runs dry meanwhile.
    private func giveBack(_ byteCount: Int) {
        guard case .open = state else { return }
        creditOwed += byteCount
        guard creditOwed >= WireLimits.initialCredit / 4 else { return }
        creditLeft += creditOwed
        channel.appendCredit(creditOwed, stream: stream)
        creditOwed = 0
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await Waiter.suspend(countedBy: channel.loop) { suspended in
                waiter = suspended
                if Task.isCancelled { wake() }
            }
        } onCancel: {
            channel.loop.onLoop { self.wake() }
        }
    }

    private func wake() {
        guard let waiting = waiter else { return }
        waiter = nil
        waiting.wake()
    }
}
