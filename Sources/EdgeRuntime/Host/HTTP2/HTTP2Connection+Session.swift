internal import HTTP2
internal import Wire

/// What the session reads and writes.
extension HTTP2Connection: HTTP2SessionDelegate {
    func frameBegan(_ head: HTTP2FrameHead) -> Bool {
        patience.charge(head)
        return phase == .open && !patience.isExhausted
    }

    func frameRefused() -> Bool {
        patience.charge()
        return !patience.isExhausted
    }

    func requestBegan(_ number: Int32) {
        draft.begin()
        draftNumber = number
        trailerByteCount = 0
        let stream = restingStreams.popLast() ?? HTTP2Stream(self, number: number)
        stream.begin(number)
        streams.insert(stream, UInt32(number))
    }

    func received(_ number: Int32, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        if number == draftNumber { return unsafe draft.add(name, value) }
        guard streams[UInt32(number)] != nil else { return }
        // Trailers say nothing that anybody here asks for, as those of HTTP/1.1.
        trailerByteCount += name.count + value.count + 4
        if trailerByteCount > node.settings.limits.trailerBytesMax { session?.reset(number, .enhanceYourCalm) }
    }

    func requestHeadEnded(_ number: Int32, isWholeRequest: Bool) {
        draftNumber = nil
        guard let stream = streams[UInt32(number)], stream.phase == .idle else { return }
        if draft.isTooLarge { return stream.refuseHead(.headTooLarge) }
        if draft.hasProtocol, !draft.asksForWebSocket || isWholeRequest { return stream.refuseProtocol() }
        stream.isConnect = draft.hasProtocol
        guard draft.finish(into: &stream.input) else { return reset(stream, .protocolError) }
        stream.takeHead(isWholeRequest: isWholeRequest)
    }

    func received(_ number: Int32, body bytes: UnsafeRawBufferPointer) {
        heldByteCount += bytes.count
        owedByteCount += bytes.count
        guard let stream = streams[UInt32(number)] else { return giveBack(bytes.count, of: nil) }
        unsafe stream.receive(body: bytes)
        payWindow()
    }

    func requestEnded(_ number: Int32) { streams[UInt32(number)]?.requestEnded() }

    func streamClosed(_ number: Int32, code: UInt32) {
        guard let stream = streams.remove(UInt32(number)) else { return }
        if stream.wasClosed() { patience.charge() }
        if stream.isReusable, restingStreams.count < Self.restingStreamsMax {
            stream.rest()
            restingStreams.append(stream)
        }
        if streams.count == 0 { deadline = reactor.now.advanced(byNanoseconds: node.idleNanoseconds) }
    }

    func pingAnswered() {
        if case .announced = farewell { takeNoMore() }
    }

    func nextPiece(_ number: Int32, upTo most: Int) -> HTTP2Piece? { streams[UInt32(number)]?.nextPiece(upTo: most) }

    func send(_ number: Int32, _ piece: HTTP2Piece, frameHead: UnsafeRawBufferPointer) -> HTTP2SendOutcome {
        guard output.readableByteCount < Self.outputHighWater else { return .wouldBlock }
        guard let stream = streams[UInt32(number)] else { return .failed }
        unsafe output.append(frameHead)
        guard stream.write(piece, to: &output) else {
            output.removeLast(frameHead.count)
            return .failed
        }
        patience.frameSent()
        noteServed(stream)
        return .sent
    }

    // MARK: Windows

    /// Gives the client its windows back: the connection's, and that of `stream`.
    func giveBack(_ byteCount: Int, of stream: HTTP2Stream?) {
        guard byteCount > 0, let session else { return }
        if let stream { session.giveBack(byteCount, of: stream.number) }
        heldByteCount -= byteCount
        payWindow()
        markDirty()
    }

    private func payWindow() {
        let due = owedByteCount - max(0, heldByteCount - Self.freelyHeldByteCount)
        guard due > 0 else { return }
        owedByteCount -= due
        session?.giveBackToConnection(due)
    }
}
