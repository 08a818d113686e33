internal import Glibc
internal import System

/// Reads the records of one segment in order, up to a length or to the first that isn't whole.
final class SegmentReader {
    static let header = Array("edge-ae1".utf8)

    private let file: Descriptor
    private let byteCount: Int64
    private(set) var buffer: [UInt8] = []
    /// Where `buffer` begins in the file, and how much of it was read.
    private var bufferOffset: Int64 = 0
    private var consumed = 0
    private static let pieceBytes = 256 << 10

    /// - Throws: also when the file is of another format.
    init(_ path: String, byteCount: Int64) throws(SystemError) {
        file = try FileTree.openFile(path, flags: O_RDONLY)
        self.byteCount = byteCount
        if try fill(Self.header.count) {
            guard buffer.starts(with: Self.header) else { throw SystemError("read segment", errno: EINVAL, on: path) }
            consumed = Self.header.count
        }
    }

    /// The end of the last record that was whole, in bytes from the file's start.
    var position: Int64 { bufferOffset + Int64(consumed) }

    /// - Returns: where the next record's payload is in `buffer`; `nil` at the end.
    func next() throws(SystemError) -> Range<Int>? {
        guard position > 0, try fill(PointRecord.headByteCount) else { return nil }
        func number(_ offset: Int) -> UInt32 {
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(buffer[consumed + offset + $1]) << (8 * UInt32($1)) }
        }
        let (length, checksum) = (Int(number(0)), number(4))
        guard length <= PointRecord.payloadBytesMax, try fill(PointRecord.headByteCount + length) else { return nil }
        let start = consumed + PointRecord.headByteCount
        let payload = start..<(start + length)
        guard Checksum.crc32(buffer[payload]) == checksum else { return nil }
        consumed = payload.upperBound
        return payload
    }

    /// Makes `count` bytes readable behind what was consumed.
    private func fill(_ count: Int) throws(SystemError) -> Bool {
        if buffer.count - consumed >= count { return true }
        buffer.removeFirst(consumed)
        bufferOffset += Int64(consumed)
        consumed = 0
        let end = bufferOffset + Int64(buffer.count)
        let wanted = min(Int64(max(Self.pieceBytes, count)), byteCount - end)
        if wanted > 0 { buffer += try file.read(at: end, count: Int(wanted)) }
        return buffer.count >= count
    }
}
