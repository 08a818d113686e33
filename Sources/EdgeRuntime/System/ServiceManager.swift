internal import Glibc

/// Tells the service manager that has started this process how it is: a datagram to `$NOTIFY_SOCKET` (sd_notify(3)). Without
/// one nothing is done.
package enum ServiceManager {
    /// Whether there is one that wants to know.
    package static var isThere: Bool { address != nil }

    private static var address: String? {
        // SAFETY: getenv's result is copied at once.
        let path = unsafe getenv("NOTIFY_SOCKET").map { unsafe String(cString: $0) } ?? ""
        guard path.hasPrefix("/") || path.hasPrefix("@"), path.utf8.count < 107 else { return nil }
        return path
    }

    /// - Parameter state: Assignments, one a line, such as `READY=1`.
    package static func tell(_ state: String) {
        guard let path = address else { return }
        let number = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { return }
        defer { close(number) }
        var target = sockaddr_un()
        target.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        // A name that is no file's starts with a zero.
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        // SAFETY: writes within sun_path, which is longer; what is left of it is zero.
        unsafe withUnsafeMutableBytes(of: &target.sun_path) { room in
            for (index, byte) in bytes.enumerated() { unsafe room[index] = byte }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let message = Array(state.utf8)
        // SAFETY: reads the message's bytes, and of the address as many as `length` says.
        _ = unsafe withUnsafePointer(to: &target) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe sendto(number, message, message.count, Int32(MSG_NOSIGNAL), address, length)
            }
        }
    }
}
