internal import System
internal import Wire

/// One of the two ends of a WebSocket's connection that never leaves the node: what is written at one end is read at the other. So a
/// worker can be the client of a WebSocket that the node keeps for an object, and neither side has to know. Reactor thread only.
///
/// An end takes no more than `heldBytesMax` that the link of the other one hasn't used.
final class SocketLoop: WebSocketTunnel {
    private let reactor: Reactor
    /// Until it is closed.
    private var other: SocketLoop?
    private var link: WebSocketLink?
    /// Written at the other end.
    private var arriving = ByteBuffer()
    /// And what the link has of that and hasn't used.
    private var heldByteCount = 0
    private var isDelivering = false
    private var hasEnded = false
    private var hasToldEnd = false

    private static let heldBytesMax = 128 << 10

    static func pair(on reactor: Reactor) -> (SocketLoop, SocketLoop) {
        let (first, second) = (SocketLoop(reactor), SocketLoop(reactor))
        first.other = second
        second.other = first
        return (first, second)
    }

    private init(_ reactor: Reactor) { self.reactor = reactor }

    // MARK: WebSocketTunnel

    func carry(_ link: WebSocketLink) {
        self.link = link
        deliverLater()
    }

    func write(from buffer: inout ByteBuffer) -> TransferResult {
        // A link whose other end has gone hears of that when it has read what came before.
        guard let other else {
            let count = buffer.readableByteCount
            buffer.consume(count)
            return .moved(count)
        }
        let count = min(buffer.readableByteCount, Self.heldBytesMax - other.heldByteCount)
        guard count > 0 else { return .wouldBlock }
        unsafe buffer.withReadable { unsafe other.arriving.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        buffer.consume(count)
        other.heldByteCount += count
        other.deliverLater()
        return .moved(count)
    }

    func took(_ byteCount: Int) {
        heldByteCount -= byteCount
        guard byteCount > 0, let other else { return }
        reactor.later { other.link?.tunnelHasRoom() }
    }

    func endSending() { other?.end() }

    func closeTunnel(isComplete: Bool) {
        link = nil
        other?.end()
        other?.other = nil
        other = nil
    }

    // MARK: From the other end

    private func end() {
        hasEnded = true
        deliverLater()
    }

    /// Not from within what the other link is doing.
    private func deliverLater() {
        guard link != nil, !isDelivering else { return }
        isDelivering = true
        reactor.later { [self] in
            isDelivering = false
            deliver()
        }
    }

    private func deliver() {
        if !arriving.isEmpty {
            var bytes = ByteBuffer()
            swap(&bytes, &arriving)
            unsafe bytes.withReadable { unsafe link?.receive($0) }
        }
        guard hasEnded, !hasToldEnd, arriving.isEmpty, let link else { return }
        hasToldEnd = true
        link.tunnelEnded()
    }
}

extension ObjectSocket {
    /// Its client is the worker that has made `call`.
    ///
    /// - Returns: what gives that worker its end.
    func connect(to call: CallStream) -> any BodyProducer {
        let (own, far) = SocketLoop.pair(on: reactor)
        let worker = WorkerSocket(
            WebSocketLink(WebSocketLink.Opening(tunnel: far), side: .client, delivery: .inPieces, reactor: reactor))
        worker.begin(with: call)
        attach(WebSocketLink(WebSocketLink.Opening(tunnel: own), side: .server, delivery: .whole, reactor: reactor))
        return worker
    }
}
