internal import CCurl
internal import Glibc
package import System

/// Connections that libcurl doesn't make.
extension PeerAddress {
    /// The addresses of a name, each once, the best first (RFC 6724); none when it has none, or can't be resolved. Blocks.
    package static func resolve(_ host: String) -> [PeerAddress] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        // SAFETY: the list is read before it is freed, and each address has the length that its family has.
        guard unsafe getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [PeerAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            if let pointer = unsafe entry.pointee.ai_addr,
                let address = unsafe PeerAddress(UnsafeRawPointer(pointer), family: entry.pointee.ai_family),
                !addresses.contains(address)
            {
                addresses.append(address)
            }
            unsafe next = entry.pointee.ai_next
        }
        return addresses
    }

    /// Begins to connect; the socket can be written to when it is decided whether that worked (`connectFailure`).
    package func connect(port: UInt16) throws(SystemError) -> Descriptor {
        let (number, code) = unsafe withSocketAddress(port: port) { pointer, byteCount, family -> (Int32, Int32) in
            let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
            let number = socket(family, kind, 0)
            guard number >= 0 else { return (number, errno) }
            var enabled: Int32 = 1
            // SAFETY: the kernel reads the one integer, and the address that is lent.
            unsafe setsockopt(number, Int32(IPPROTO_TCP), TCP_NODELAY, &enabled, socklen_t(MemoryLayout<Int32>.size))
            let isBegun =
                unsafe Glibc.connect(number, pointer.assumingMemoryBound(to: sockaddr.self), byteCount) == 0
                || errno == EINPROGRESS
            return (number, isBegun ? 0 : errno)
        }
        guard number >= 0 else { throw SystemError("socket", errno: code) }
        let descriptor = Descriptor(owning: number)
        guard code == 0 else { throw SystemError("connect", errno: code, on: "\(self)") }
        return descriptor
    }

    /// Why a connection didn't come about; `nil` when it did.
    package static func connectFailure(of socket: Int32) -> SystemError? {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        // SAFETY: the kernel writes the one integer.
        guard unsafe getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else {
            return SystemError("getsockopt", errno: errno)
        }
        return code == 0 ? nil : SystemError("connect", errno: code)
    }
}
