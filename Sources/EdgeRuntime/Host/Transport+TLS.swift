internal import Glibc
internal import System
internal import TLS
internal import Wire

/// A transport's bytes through TLS.
extension Transport {
    /// The connection is watched for being writable although there may be nothing to write.
    var waitsToWrite: Bool { tls?.waitsToWrite ?? false }

    /// More was received than was read: epoll won't tell.
    var hasUnread: Bool { tls?.hasUnread ?? false }

    /// The first byte that the peer sent, left where it is; `nil` when there is none yet.
    func peekFirstByte() -> UInt8? {
        var byte: UInt8 = 0
        // SAFETY: the kernel writes at most the one byte whose address it is given.
        return unsafe recv(rawValue, &byte, 1, Int32(MSG_PEEK)) == 1 ? byte : nil
    }

    static func read(_ session: TLSSession, into buffer: inout ByteBuffer, upTo limit: Int) -> TransferResult {
        var step = TLSStep.wantsRead
        _ = unsafe buffer.withWritable(atLeast: limit) { room in
            unsafe step = session.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<limit]))
            if case .moved(let count) = step { return count }
            return 0
        }
        return switch step {
        case .moved(let count): .moved(count)
        case .wantsRead, .wantsWrite: .wouldBlock
        case .ended, .failed: .closed
        }
    }

    static func write(_ session: TLSSession, from buffer: inout ByteBuffer) -> TransferResult {
        var total = 0
        while !buffer.isEmpty {
            switch unsafe buffer.withReadable({ unsafe session.write($0) }) {
            case .moved(let count):
                buffer.consume(count)
                total += count
            case .wantsWrite: return total > 0 ? .moved(total) : .wouldBlock
            // Only renegotiation would read in order to write, and that is refused.
            case .wantsRead, .ended, .failed: return .closed
            }
        }
        return .moved(total)
    }

    /// At most 256 KiB: a fast client must not keep the others waiting.
    static func send(_ session: TLSSession, _ bytes: [UInt8], last count: Int) -> TransferResult {
        var total = 0
        while total < min(count, 256 << 10) {
            let step = unsafe bytes.withUnsafeBytes { bytes in
                unsafe session.write(UnsafeRawBufferPointer(rebasing: bytes.suffix(count - total)))
            }
            switch step {
            case .moved(let sent): total += sent
            case .wantsWrite: return total > 0 ? .moved(total) : .wouldBlock
            case .wantsRead, .ended, .failed: return .closed
            }
        }
        return .moved(total)
    }

    static func sendFile(_ session: TLSSession, _ file: Int32, offset: inout Int64, count: Int) -> TransferResult {
        var total = 0
        while total < count {
            switch session.sendFile(file, at: offset, count: count - total) {
            case .moved(let sent):
                offset += Int64(sent)
                total += sent
            case .wantsWrite: return total > 0 ? .moved(total) : .wouldBlock
            case .wantsRead, .ended, .failed: return .closed
            }
        }
        return .moved(total)
    }
}
