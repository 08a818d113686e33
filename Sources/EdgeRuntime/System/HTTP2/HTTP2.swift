// HTTP2 is the owner of libnghttp2: frames, header compression and flow control of the server's side of one HTTP/2 connection
// (RFC 9113, RFC 7541), as bytes in and bytes out. It opens no socket, reads no clock and knows no routes; what requests mean
// is its delegate's business.
//
// Rules of the library that hold here (nghttp2_session_mem_recv(3), nghttp2_session_mem_send(3), programmers' guide):
// - A session belongs to one thread. Callbacks run inside receive and send, and may submit frames, but may not receive, send
//   or end the session.
// - Bytes that sending returns are valid until the next call. Names and values given to a submission are copied.
// - The library checks what RFC 9113 §8 asks of a message (pseudo headers, names in lower case, no connection's own fields, a
//   body of the announced length) and resets streams that break it. It answers SETTINGS and PING itself and bounds what it
//   keeps for that, refuses streams beyond the announced number, and ends sessions whose heads go on in too many pieces.
// - Flow control windows are given back when the delegate says so, not before.

/// Why a stream or a connection ends (RFC 9113 §7).
package enum HTTP2ErrorCode: UInt32, Sendable {
    case noError = 0
    case protocolError = 1
    case internalError = 2
    case flowControlError = 3
    case streamClosed = 5
    case refusedStream = 7
    case cancel = 8
    case compressionError = 9
    case enhanceYourCalm = 11
}

/// What a client has to do with the start of a frame.
package struct HTTP2FrameHead: Sendable {
    package enum Kind: Sendable { case data, headers, priority, reset, settings, ping, windowUpdate, continuation, other }

    package let kind: Kind
    package let stream: Int32
    package let payloadByteCount: Int
    /// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
    package let hasFirstFlag: Bool

    package init(kind: Kind, stream: Int32, payloadByteCount: Int, hasFirstFlag: Bool) {
        self.kind = kind
        self.stream = stream
        self.payloadByteCount = payloadByteCount
        self.hasFirstFlag = hasFirstFlag
    }
}

/// How much a session may take.
package struct HTTP2Limits: Sendable {
    /// Requests in flight.
    package var streamsMax: UInt32
    /// Of a request's fields, as SETTINGS_MAX_HEADER_LIST_SIZE counts them; a word to the client, held by the delegate.
    package var fieldBytesMax: UInt32
    /// Body bytes that a client may send on a stream, and on all of them, before some are taken.
    package var streamWindow: Int32
    package var connectionWindow: Int32

    /// Whether clients are told that CONNECT may name a protocol (RFC 8441).
    package var takesProtocols: Bool

    package init(
        streamsMax: UInt32, fieldBytesMax: UInt32, streamWindow: Int32, connectionWindow: Int32, takesProtocols: Bool = false
    ) {
        self.takesProtocols = takesProtocols
        self.streamsMax = streamsMax
        self.fieldBytesMax = fieldBytesMax
        self.streamWindow = streamWindow
        self.connectionWindow = connectionWindow
    }
}

/// Hears what a session reads, and gives what it writes. All pointers are valid during their call only.
package protocol HTTP2SessionDelegate: AnyObject {
    /// - Returns: false when the client has sent too much of what leads nowhere: nothing more of it is read.
    func frameBegan(_ head: HTTP2FrameHead) -> Bool
    /// A frame can't be taken, or a stream was refused; the session has answered it.
    ///
    /// - Returns: as `frameBegan`.
    func frameRefused() -> Bool
    func requestBegan(_ stream: Int32)
    /// The next field of a head; pseudo fields come first. Fields of trailers come the same way, behind the body.
    func received(_ stream: Int32, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)
    func requestHeadEnded(_ stream: Int32, isWholeRequest: Bool)
    /// Bytes of a body. Until they are given back, they count against the windows.
    func received(_ stream: Int32, body bytes: UnsafeRawBufferPointer)
    func requestEnded(_ stream: Int32)
    /// A stream is over that had begun.
    func streamClosed(_ stream: Int32, code: UInt32)
    /// The client has answered a PING of ours.
    func pingAnswered()

    /// What of the answer's body can be sent now, at most `most` bytes; `nil`: nothing before `resume`.
    func nextPiece(_ stream: Int32, upTo most: Int) -> HTTP2Piece?
    /// Sends the piece that was promised, behind the head of its frame.
    func send(_ stream: Int32, _ piece: HTTP2Piece, frameHead: UnsafeRawBufferPointer) -> HTTP2SendOutcome
}

/// A part of an answer's body.
package struct HTTP2Piece: Sendable {
    package let byteCount: Int
    package let isLast: Bool

    package init(byteCount: Int, isLast: Bool) {
        self.byteCount = byteCount
        self.isLast = isLast
    }
}

package enum HTTP2SendOutcome: Sendable {
    case sent
    /// There is no room for it now; it is offered again.
    case wouldBlock
    /// The body can't go on: the stream is reset.
    case failed
}
