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
        switch unsafe address.pointee.family {
        case AF_INET:
            let v4 = unsafe UnsafeRawPointer(pointer).loadUnaligned(as: sockaddr_in.self)
            self = .v4(UInt32(bigEndian: v4.sin_addr.s_addr))
        case AF_INET6:
            var v6 = unsafe UnsafeRawPointer(pointer).loadUnaligned(as: sockaddr_in6.self).sin6_addr
            self = unsafe withUnsafeBytes(of: &v6) { unsafe PeerAddress(v6: $0) }
        default: return nil
        }
    }

    private init(v6 bytes: UnsafeRawBufferPointer) {
        self = unsafe .v6(
            high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
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
