internal import Glibc
internal import Interfaces
internal import System
internal import Wire

/// The isolate's end of one Unix socket to a reactor. Touched by the loop's thread alone.
final class Channel {
    enum ReadOutcome { case more, drained, closed }

    /// Above this much unsent output bodies wait: the node has to take something first.
    static let outputBytesMax = 1 << 20
    /// Read at a time; what is more waits in the socket while other channels have their turn.
    private static let readByteCount = 64 << 10

    // SAFETY: the loop owns its channels, and nothing uses a channel after its loop: it ends with the process.
    private unowned(unsafe) let owner: EventLoop
    var loop: EventLoop { unsafe owner }
    let index: UInt32
    let descriptor: Descriptor
    var input = ByteBuffer()
    var output = ByteBuffer()
    var streams = StreamTable()
    /// Senders that wait for room in `output`.
    var waitingSenders: [StreamEndpoint] = []
    private var nextStream: UInt32 = 2
    /// What epoll watches now.
    var interest: Epoll.Interest = .read

    init(loop: EventLoop, index: UInt32, descriptor: consuming Descriptor) {
        unsafe owner = loop
        self.index = index
        self.descriptor = descriptor
    }

    var isFull: Bool { output.readableByteCount > Self.outputBytesMax }

    // MARK: The socket

    /// Reads once and hands on all complete frames.
    func readFrames() throws(WireError) -> ReadOutcome {
        let wanted = max(Self.readByteCount, pendingByteCount)
        var capacity = 0
        let count = unsafe input.withWritable(atLeast: wanted) { buffer in
            capacity = buffer.count
            // SAFETY: the kernel writes at most buffer.count bytes into the buffer it is lent.
            return unsafe Glibc.read(descriptor.rawValue, buffer.baseAddress, buffer.count)
        }
        guard count > 0 else {
            guard count < 0, errno == EAGAIN || errno == EINTR else { return .closed }
            return .drained
        }
        try handOnFrames()
        return count == capacity ? .more : .drained
    }

    /// How many bytes complete the frame that has begun to arrive.
    private var pendingByteCount: Int {
        unsafe input.withReadable { bytes in
            guard let header = try? unsafe FrameHeader.read(RawSpan(_unsafeBytes: bytes)) else { return 0 }
            return FrameHeader.byteCount + header.payloadByteCount - bytes.count
        }
    }

    private func handOnFrames() throws(WireError) {
        let consumed = try unsafe input.withReadable { bytes throws(WireError) -> Int in
            var offset = 0
            while let header = try unsafe FrameHeader.read(
                RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: bytes[offset...])))
            {
                let end = offset + FrameHeader.byteCount + header.payloadByteCount
                guard end <= bytes.count else { break }
                try unsafe receive(
                    header, UnsafeRawBufferPointer(rebasing: bytes[(offset + FrameHeader.byteCount)..<end]))
                offset = end
                // An event's code runs before the next frame is looked at: what one event allocates is then still at
                // hand, free again, for the next.
                loop.runJobs()
            }
            return offset
        }
        input.consume(consumed)
        if input.isEmpty, input.allocatedByteCount > 4 * Self.readByteCount { input.releaseIfEmpty() }
    }

    /// Writes what waits, as far as the socket takes it, and watches for what epoll should report.
    ///
    /// - Returns: false when the node is gone.
    func flush() -> Bool {
        while !output.isEmpty {
            // SAFETY: the kernel reads the bytes it is lent. SIGPIPE is ignored in isolates.
            let count = unsafe output.withReadable { bytes in
                unsafe Glibc.send(descriptor.rawValue, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                guard errno == EAGAIN else { return false }
                break
            }
            output.consume(count)
        }
        if output.isEmpty, output.allocatedByteCount > 512 << 10 { output.releaseIfEmpty() }
        if !isFull, !waitingSenders.isEmpty {
            let woken = waitingSenders
            waitingSenders = []
            for sender in woken { sender.wakeSender() }
        }
        return true
    }

    // MARK: Frames out

    func takeStream() -> UInt32 {
        defer { nextStream &+= 2 }
        return nextStream
    }

    func appendData(_ bytes: ArraySlice<UInt8>, stream: UInt32, end: Bool) {
        output.append(
            FrameHeader(.data, stream: stream, flags: end ? .end : [], payloadByteCount: bytes.count))
        output.append(bytes)
    }

    func appendEnd(stream: UInt32) { output.append(FrameHeader(.end, stream: stream, payloadByteCount: 0)) }

    func appendCredit(_ byteCount: Int, stream: UInt32) {
        output.append(FrameHeader(.credit, stream: stream, payloadByteCount: 4))
        output.appendLittleEndian(UInt32(byteCount))
    }

    /// The `open` frame of a call of `parent`.
    func appendCall(
        _ kind: CallKind, stream: UInt32, binding: UInt16, parent: UInt32, flags: FrameFlags,
        _ message: [UInt8]
    ) {
        output.append(
            FrameHeader(
                .open, stream: stream, flags: flags, payloadByteCount: CallPrefix.byteCount + message.count))
        output.appendLittleEndian(kind.rawValue)
        output.appendLittleEndian(binding)
        output.appendLittleEndian(parent)
        output.append(message)
    }

    // MARK: Frames in

    private func receive(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws(WireError) {
        let endpoint = streams[header.stream]
        let isOurs = header.stream & 1 == 0
        // A frame on a stream that was closed meanwhile is late, not wrong; one we never opened is.
        if endpoint == nil, isOurs, header.stream >= nextStream {
            throw .unexpectedFrame(header.kind, stream: header.stream)
        }
        switch header.kind {
        case .open:
            if isOurs {
                try unsafe endpoint?.receivedOpen(header.flags, payload)
            } else if endpoint == nil {
                try unsafe loop.receivedEvent(header, payload, on: self)
            } else {
                throw .unexpectedFrame(.open, stream: header.stream)
            }
        case .data:
            guard let endpoint else { return }
            try unsafe endpoint.receivedData(payload)
            if header.flags.contains(.end) { try endpoint.receivedEnd() }
        case .end: try endpoint?.receivedEnd()
        case .credit:
            // SAFETY: FrameHeader.read refuses a credit frame that isn't four bytes long.
            let byteCount = unsafe payload.loadUnaligned(as: UInt32.self).littleEndian
            try endpoint?.receivedCredit(Int(byteCount))
        case .reset:
            guard payload.count >= 2 else { throw .wrongPayloadLength(.reset, payload.count) }
            let code = unsafe payload.loadUnaligned(as: UInt16.self).littleEndian
            let message = unsafe String(
                decoding: UnsafeRawBufferPointer(rebasing: payload[2...]), as: UTF8.self)
            endpoint?.receivedReset(code: code, message: message)
        }
    }
}
