internal import Glibc
internal import System

/// Reads the records of one segment in order, up to a length. What is no record is passed over: the next record is where length,
/// checksum and content agree again.
final class SegmentReader {
    static let header = Array("edge-ae1".utf8)

    private let file: Descriptor
    private let byteCount: Int64
    private(set) var buffer: [UInt8] = []
    /// Where `buffer` begins in the file, and how much of it was read.
    private var bufferOffset: Int64 = 0
    private var consumed = 0
    private static let pieceBytes = 256 << 10

    /// Whether it begins as a file of this format.
    private(set) var hasHeader = false
    /// The end of the last whole record, in bytes from the file's start.
    private(set) var endOfRecords: Int64 = 0
    /// What lies between whole records and is none; the first places.
    private(set) var damage: [Range<Int64>] = []
    private static let damageMax = 100

    /// - Parameter isSetAside: Then its head may be damaged, too.
    /// - Throws: when the file is of another format.
    init(_ path: String, byteCount: Int64, isSetAside: Bool = false) throws(SystemError) {
        file = try FileTree.openFile(path, flags: O_RDONLY)
        self.byteCount = byteCount
        guard try fill(Self.header.count) else { return }
        if buffer.starts(with: Self.header) {
            hasHeader = true
            consumed = Self.header.count
            endOfRecords = Int64(consumed)
        } else if !isSetAside {
            throw SystemError("read segment", errno: EINVAL, on: path)
        }
    }

    private var position: Int64 { bufferOffset + Int64(consumed) }

    /// - Returns: where the next record's payload is in `buffer`; `nil` when no whole one follows.
    func next() throws(SystemError) -> Range<Int>? {
        let payload = if let payload = try record() { payload } else { try search() }
        guard let payload else { return nil }
        consumed = payload.upperBound
        endOfRecords = position
        return payload
    }

    /// The record that begins here, if a whole one does.
    private func record() throws(SystemError) -> Range<Int>? {
        guard try fill(PointRecord.headByteCount) else { return nil }
        func number(_ offset: Int) -> UInt32 {
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(buffer[consumed + offset + $1]) << (8 * UInt32($1)) }
        }
        let (length, checksum) = (Int(number(0)), number(4))
        guard PointRecord.payloadBytes.contains(length), try fill(PointRecord.headByteCount + length) else { return nil }
        let start = consumed + PointRecord.headByteCount
        let payload = start..<(start + length)
        return Checksum.crc32(buffer[payload]) == checksum ? payload : nil
    }

    /// The first record behind what is none.
    private func search() throws(SystemError) -> Range<Int>? {
        let start = position
        while try fill(PointRecord.headByteCount + PointRecord.payloadBytes.lowerBound + 1) {
            consumed += 1
            guard let payload = try record(), PointRecord(buffer, payload) != nil else { continue }
            if damage.count < Self.damageMax { damage.append(start..<position) }
            return payload
        }
        return nil
    }

    /// Makes `count` bytes readable behind what was consumed.
    private func fill(_ count: Int) throws(SystemError) -> Bool {
        if buffer.count - consumed >= count { return true }
        let end = bufferOffset + Int64(buffer.count)
        let wanted = min(Int64(max(Self.pieceBytes, count)), byteCount - end)
        guard wanted > 0 else { return false }
        buffer.removeFirst(consumed)
        bufferOffset += Int64(consumed)
        consumed = 0
        buffer += try file.read(at: end, count: Int(wanted))
        return buffer.count >= count
    }
}
