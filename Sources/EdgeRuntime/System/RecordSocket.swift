internal import CLinux
internal import Glibc

/// One end of a pair of sockets between two processes of this machine: whole records, each a text with descriptors. Calls block.
package final class RecordSocket: Sendable {
    package struct Record: Sendable {
        package let text: String
        /// Whoever has the record closes them.
        package let descriptors: [Int32]
    }

    package static let descriptorsMax = Int(EDGE_RECORD_DESCRIPTORS_MAX)
    private static let bytesMax = 64 << 10

    private let descriptor: Descriptor

    /// Takes over a descriptor that this process was started with.
    package init(owning number: Int32) {
        _ = fcntl(number, F_SETFD, FD_CLOEXEC)
        descriptor = Descriptor(owning: number)
    }

    package static func pair() throws(SystemError) -> (RecordSocket, RecordSocket) {
        var ends: [Int32] = [-1, -1]
        // SAFETY: fills the two integers it is lent.
        guard unsafe edge_record_pair(&ends) == 0 else { throw SystemError("socketpair", errno: errno) }
        return (RecordSocket(owning: ends[0]), RecordSocket(owning: ends[1]))
    }

    package var rawValue: Int32 { descriptor.rawValue }

    /// - Parameter descriptors: At most `descriptorsMax`; they stay the caller's.
    package func send(_ text: String, _ descriptors: [Int32] = []) throws(SystemError) {
        let bytes = Array(text.utf8)
        // SAFETY: reads the bytes and numbers of both arrays.
        let result = unsafe bytes.withUnsafeBytes { bytes in
            unsafe descriptors.withUnsafeBufferPointer { numbers in
                unsafe edge_record_send(
                    descriptor.rawValue, bytes.baseAddress, bytes.count, numbers.baseAddress, Int32(numbers.count))
            }
        }
        guard result == 0 else { throw SystemError("sendmsg", errno: errno) }
    }

    /// - Returns: `nil` when the other end has been closed.
    /// - Throws: `ETIMEDOUT` when nothing has come within `patience`; `nil` is without end.
    package func receive(within patience: Duration?) throws(SystemError) -> Record? {
        var item = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        let milliseconds = patience.map { Int32(clamping: max(0, $0.wholeMilliseconds)) } ?? -1
        // SAFETY: poll reads and writes the one element it is told about.
        var ready = unsafe poll(&item, 1, milliseconds)
        // Signals go to other threads; asking anew may take longer, not for ever.
        while ready < 0, errno == EINTR { ready = unsafe poll(&item, 1, milliseconds) }
        guard ready != 0 else { throw SystemError("recvmsg", errno: ETIMEDOUT) }
        var bytes = [UInt8](repeating: 0, count: Self.bytesMax)
        var numbers = [Int32](repeating: -1, count: Self.descriptorsMax)
        var numberCount: Int32 = 0
        // SAFETY: writes at most what both arrays have room for.
        let count = unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe numbers.withUnsafeMutableBufferPointer { numbers in
                unsafe edge_record_receive(
                    descriptor.rawValue, bytes.baseAddress, bytes.count, numbers.baseAddress, &numberCount)
            }
        }
        if count < 0, errno == ECONNRESET { return nil }
        guard count >= 0 else { throw SystemError("recvmsg", errno: errno) }
        guard count > 0 else { return nil }
        return Record(
            text: String(decoding: bytes[..<count], as: UTF8.self), descriptors: Array(numbers[..<Int(numberCount)]))
    }
}
