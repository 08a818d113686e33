internal import Glibc

extension Descriptor {
    /// Reads up to `count` bytes at `offset`; fewer only at the end of the file.
    package borrowing func read(at offset: Int64, count: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let rawValue = rawValue
            let result = unsafe bytes.withUnsafeMutableBytes { buffer in
                // SAFETY: the kernel writes at most the bytes behind `done` that the array has.
                unsafe pread(rawValue, buffer.baseAddress?.advanced(by: done), count - done, off_t(offset) + off_t(done))
            }
            if result > 0 {
                done += result
            } else if result == 0 {
                break
            } else if errno != EINTR {
                throw SystemError("pread", errno: errno, on: "fd \(rawValue)")
            }
        }
        if done < count { bytes.removeLast(count - done) }
        return bytes
    }
}
