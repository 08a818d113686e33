internal import CCurl
internal import Glibc

/// The address of a host on the network, without a port.
package enum PeerAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four bytes, as numbers, most significant first.
    case v4(UInt32)
    case v6(high: UInt64, low: UInt64)

    /// Reads `127.0.0.1` or `::1`; no brackets, no zone.
    package init?(_ text: String) {
        var v4 = in_addr()
        var v6 = in6_addr()
        // SAFETY: inet_pton fills the struct whose family it is told.
        if unsafe inet_pton(AF_INET, text, &v4) == 1 {
            self = .v4(UInt32(bigEndian: v4.s_addr))
        } else if unsafe inet_pton(AF_INET6, text, &v6) == 1 {
            self = unsafe withUnsafeBytes(of: &v6) { unsafe PeerAddress(v6: $0) }
        } else {
            return nil
        }
    }

    /// `nil` for other families than IPv4 and IPv6.
    init?(_ address: UnsafePointer<curl_sockaddr>) {
        guard let pointer = unsafe edge_curl_address(address) else { return nil }
        // SAFETY: libcurl fills the struct that belongs to the family, which is longer than sockaddr for
        // IPv6.
        unsafe self.init(UnsafeRawPointer(pointer), family: address.pointee.family)
    }

    /// As above.
    ///
    /// - Parameter pointer: To a `sockaddr_in` or `sockaddr_in6`, as `family` says.
    init?(_ pointer: UnsafeRawPointer, family: Int32) {
        switch family {
        case AF_INET:
            let v4 = unsafe pointer.loadUnaligned(as: sockaddr_in.self)
            self = .v4(UInt32(bigEndian: v4.sin_addr.s_addr))
        case AF_INET6:
            var v6 = unsafe pointer.loadUnaligned(as: sockaddr_in6.self).sin6_addr
            self = unsafe withUnsafeBytes(of: &v6) { unsafe PeerAddress(v6: $0) }
        default: return nil
        }
    }

    private init(v6 bytes: UnsafeRawBufferPointer) {
        self = unsafe .v6(
            high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }

    /// Lends the kernel's form of the address: a `sockaddr_in` or `sockaddr_in6`, and its length.
    func withSocketAddress<Result>(
        port: UInt16, _ body: (_ address: UnsafeRawPointer, _ byteCount: UInt32, _ family: Int32) -> Result
    ) -> Result {
        switch self {
        case .v4(let bits):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = bits.bigEndian
            return unsafe withUnsafeBytes(of: &address) { bytes in
                guard let base = bytes.baseAddress else { preconditionFailure("a struct has an address") }
                return unsafe body(base, UInt32(bytes.count), AF_INET)
            }
        case .v6(let high, let low):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { bytes in
                // SAFETY: the address has sixteen bytes.
                unsafe bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
                unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            return unsafe withUnsafeBytes(of: &address) { bytes in
                guard let base = bytes.baseAddress else { preconditionFailure("a struct has an address") }
                return unsafe body(base, UInt32(bytes.count), AF_INET6)
            }
        }
    }

    package var description: String {
        switch self {
        case .v4(let bits): return [24, 16, 8, 0].map { "\(bits >> $0 & 255)" }.joined(separator: ".")
        case .v6(let high, let low):
            var bytes = (high.bigEndian, low.bigEndian)
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            // SAFETY: sixteen bytes go in, and at most INET6_ADDRSTRLEN bytes come out.
            let written = unsafe inet_ntop(AF_INET6, &bytes, &text, socklen_t(text.count)) != nil
            return written
                ? String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : "::"
        }
    }
}
