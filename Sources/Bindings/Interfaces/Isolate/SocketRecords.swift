package import Wire

// A WebSocket between a node and an isolate, or between two isolates, is a stream of the wire that is open in both directions.
// Its bytes are records (little-endian):
//
//     record   kind u8 (1 text, 2 binary, 8 close), flags u8 (bit 0: the message ends here, bit 1: a clean close),
//              payload length u32, payload
//     close    code u16 (0: none), reason in UTF-8
//
// Each side says `close` once, as its last record, and answers the other's with its own; then it ends its direction. Frames,
// masks, compression, pings and the check of texts are the node's business. Text is UTF-8 as a whole, but not record by record.

/// How a WebSocket ends.
package struct SocketClose: Equatable, Sendable {
    /// `nil`: the Close frame had none.
    package var code: UInt16?
    package var reason: String
    /// Whether a Close frame came.
    package var wasClean: Bool

    package init(code: UInt16?, reason: String = "", wasClean: Bool = true) {
        self.code = code
        self.reason = reason
        self.wasClean = wasClean
    }

    package static let disconnected = SocketClose(
        code: 1006, reason: "WebSocket disconnected without sending Close frame.", wasClean: false)
}

package enum SocketRecord {
    package enum Kind: UInt8, Sendable {
        case text = 1
        case binary = 2
        case close = 8
    }

    package static let headerByteCount = 6
    /// Of a close record: what a Close frame can hold.
    package static let closeByteCountMax = 125
    static let finalFlag: UInt8 = 1
    static let cleanFlag: UInt8 = 2
}

extension ByteBuffer {
    /// Appends what stands in front of a record's payload.
    package mutating func appendSocketHeader(_ kind: SocketRecord.Kind, byteCount: Int, isFinal: Bool) {
        append(kind.rawValue)
        append(isFinal ? SocketRecord.finalFlag : 0)
        appendLittleEndian(UInt32(clamping: byteCount))
    }

    /// - Parameter close: Its reason is cut to what a Close frame holds, by whole characters.
    package mutating func appendSocketClose(_ close: SocketClose) {
        var reason: [UInt8] = []
        for character in close.reason {
            guard reason.count + character.utf8.count <= SocketRecord.closeByteCountMax - 2 else { break }
            reason += character.utf8
        }
        append(SocketRecord.Kind.close.rawValue)
        append(SocketRecord.finalFlag | (close.wasClean ? SocketRecord.cleanFlag : 0))
        appendLittleEndian(UInt32(reason.count + 2))
        appendLittleEndian(close.code ?? 0)
        append(reason)
    }
}

/// Reads records however their bytes were split. It keeps none but those of a header and of a close.
package struct SocketRecordReader: Sendable {
    package enum Step: Equatable, Sendable {
        /// A record of a message begins.
        case message(SocketRecord.Kind, byteCount: Int, isFinal: Bool)
        /// Bytes of the record that has begun, by their places in what was given.
        case payload(Range<Int>, isLast: Bool)
        /// Nothing follows.
        case close(SocketClose)
    }

    private enum State {
        case header
        case payload(left: Int)
        case close(left: Int, wasClean: Bool)
        case ended
    }
    private var state = State.header
    /// The header's bytes so far, the first one lowest.
    private var header: UInt64 = 0
    private var headerCount = 0
    private var closeBytes: [UInt8] = []

    package init() {}

    /// Whether a record has begun and not ended.
    package var isInRecord: Bool {
        switch state {
        case .header: headerCount > 0
        case .payload, .close: true
        case .ended: false
        }
    }

    /// Reads on at `offset`, which moves behind what was read.
    ///
    /// - Returns: `nil` when all of `bytes` has been read.
    package mutating func next(_ bytes: RawSpan, from offset: inout Int) throws(WireError) -> Step? {
        while true {
            switch state {
            case .header:
                while headerCount < SocketRecord.headerByteCount {
                    guard offset < bytes.byteCount else { return nil }
                    header |= UInt64(bytes.byte(at: offset)) << UInt64(8 * headerCount)
                    headerCount += 1
                    offset += 1
                }
                if let step = try takeHeader() { return step }
            case .payload(let left):
                guard left == 0 || offset < bytes.byteCount else { return nil }
                let count = min(left, bytes.byteCount - offset)
                let start = offset
                offset += count
                state = left == count ? .header : .payload(left: left - count)
                return .payload(start..<offset, isLast: left == count)
            case .close(let left, let wasClean):
                guard left > 0 else {
                    state = .ended
                    return .close(try close(wasClean))
                }
                guard offset < bytes.byteCount else { return nil }
                closeBytes.append(bytes.byte(at: offset))
                offset += 1
                state = .close(left: left - 1, wasClean: wasClean)
            case .ended:
                guard offset == bytes.byteCount else { throw .invalidValue("record behind a close", offset: offset) }
                return nil
            }
        }
    }

    private mutating func takeHeader() throws(WireError) -> Step? {
        let flags = UInt8(truncatingIfNeeded: header >> 8)
        let byteCount = Int(header >> 16)
        guard let kind = SocketRecord.Kind(rawValue: UInt8(truncatingIfNeeded: header)), flags & ~3 == 0 else {
            throw .invalidValue("record of a WebSocket", offset: 0)
        }
        header = 0
        headerCount = 0
        guard kind == .close else {
            state = .payload(left: byteCount)
            return .message(kind, byteCount: byteCount, isFinal: flags & SocketRecord.finalFlag != 0)
        }
        guard (2...SocketRecord.closeByteCountMax).contains(byteCount) else {
            throw .invalidValue("length of a close record", offset: 2)
        }
        state = .close(left: byteCount, wasClean: flags & SocketRecord.cleanFlag != 0)
        return nil
    }

    private mutating func close(_ wasClean: Bool) throws(WireError) -> SocketClose {
        let bytes = closeBytes
        closeBytes = []
        let code = UInt16(bytes[0]) | UInt16(bytes[1]) << 8
        guard let reason = String(validating: bytes.dropFirst(2), as: UTF8.self) else {
            throw .invalidValue("reason of a close record", offset: 2)
        }
        return SocketClose(code: code == 0 ? nil : code, reason: reason, wasClean: wasClean)
    }
}
