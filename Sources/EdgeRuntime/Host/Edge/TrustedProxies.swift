internal import Glibc

/// The peers whose word about the client is taken: address ranges in CIDR notation.
package struct TrustedProxies: Sendable, Equatable {
    private struct Block: Sendable, Equatable {
        let address: [UInt8]
        let prefixBitCount: Int
    }
    private let blocks: [Block]

    package static let none = TrustedProxies()

    private init() { blocks = [] }

    /// - Parameter ranges: `10.0.0.0/8`, `::1/128`, or a plain address.
    /// - Returns: `nil` when one of them is no address range.
    package init?(_ ranges: [String]) {
        var blocks: [Block] = []
        for range in ranges {
            let parts = range.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let first = parts.first, let address = NetworkAddress(text: String(first)) else { return nil }
            let width = address.bytes.count * 8
            guard let bits = parts.count == 2 ? Self.number(parts[1]) : width, (0...width).contains(bits) else {
                return nil
            }
            blocks.append(Block(address: address.bytes, prefixBitCount: bits))
        }
        self.blocks = blocks
    }

    private static func number(_ digits: Substring) -> Int? {
        digits.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(digits) : nil
    }

    package func contains(_ address: NetworkAddress) -> Bool {
        blocks.contains { block in
            guard block.address.count == address.bytes.count else { return false }
            let whole = block.prefixBitCount / 8
            guard block.address.prefix(whole).elementsEqual(address.bytes.prefix(whole)) else { return false }
            let bits = block.prefixBitCount % 8
            guard bits > 0 else { return true }
            let mask = UInt8(truncatingIfNeeded: 0xff << (8 - bits))
            return block.address[whole] & mask == address.bytes[whole] & mask
        }
    }
}

/// An IPv4 or IPv6 address.
package struct NetworkAddress: Equatable, Sendable {
    /// Four or sixteen bytes.
    package let bytes: [UInt8]
    /// Its usual text: dotted, or IPv6 in compressed form.
    package let text: String

    /// An IPv4 address mapped into IPv6 counts as IPv4.
    package init(bytes: [UInt8]) {
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        self.bytes = bytes.count == 16 && bytes.starts(with: mapped) ? Array(bytes.suffix(4)) : bytes
        text = Self.text(of: self.bytes)
    }

    package init?(text: String) {
        guard !text.utf8.contains(0) else { return nil }  // inet_pton would stop reading there.
        var four = in_addr()
        var six = in6_addr()
        // SAFETY: inet_pton fills the struct of the family it is given, and only that.
        if unsafe inet_pton(AF_INET, text, &four) == 1 {
            self.init(bytes: unsafe withUnsafeBytes(of: &four) { unsafe Array($0) })
        } else if unsafe inet_pton(AF_INET6, text, &six) == 1 {
            self.init(bytes: unsafe withUnsafeBytes(of: &six) { unsafe Array($0) })
        } else {
            return nil
        }
    }

    private static func text(of bytes: [UInt8]) -> String {
        if bytes.count == 4 { return bytes.map(String.init).joined(separator: ".") }
        var buffer = [CChar](repeating: 0, count: 64)
        let family = AF_INET6
        // SAFETY: inet_ntop reads sixteen bytes and writes at most 64, NUL included.
        let result = unsafe bytes.withUnsafeBytes { source in
            unsafe inet_ntop(family, source.baseAddress, &buffer, 64) != nil
        }
        guard result else { return "::" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
