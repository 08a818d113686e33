/// An IPv4 address as 4 bytes or an IPv6 address as 16, in network order.
package struct IPAddress: Hashable, Sendable {
    package let bytes: [UInt8]

    package init(bytes: [UInt8]) { self.bytes = bytes }

    /// Dotted decimal without leading zeros (RFC 3986 §3.2.2), or RFC 4291 §2.2. No zone.
    package init?(_ text: String) {
        if text.contains(":") {
            guard let bytes = Self.parseIPv6(text) else { return nil }
            self.bytes = bytes
        } else {
            guard let bytes = Self.parseIPv4(text[...]) else { return nil }
            self.bytes = bytes
        }
    }

    private static func parseIPv4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                part == "0" || !part.hasPrefix("0"), let byte = UInt8(part)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func parseIPv6(_ text: String) -> [UInt8]? {
        let scalars = Array(text.utf8)
        let gaps = scalars.indices.dropLast().filter { scalars[$0] == 0x3A && scalars[$0 + 1] == 0x3A }
        guard gaps.count <= 1 else { return nil }
        guard let gap = gaps.first else {
            guard let bytes = groups(text[...]), bytes.count == 16 else { return nil }
            return bytes
        }
        let head = String(decoding: scalars[..<gap], as: UTF8.self)
        let tail = String(decoding: scalars[(gap + 2)...], as: UTF8.self)
        guard let front = head.isEmpty ? [] : groups(head[...]),
            let back = tail.isEmpty ? [] : groups(tail[...]),
            front.count + back.count <= 14, !head.contains(".")
        else { return nil }
        return front + [UInt8](repeating: 0, count: 16 - front.count - back.count) + back
    }

    private static func groups(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if part.contains(".") {
                guard index == parts.count - 1, let address = parseIPv4(part) else { return nil }
                bytes += address
            } else {
                guard (1...4).contains(part.utf8.count),
                    part.utf8.allSatisfy({ TOMLParser.digit($0, radix: 16) != nil }),
                    let group = UInt16(part, radix: 16)
                else { return nil }
                bytes += [UInt8(group >> 8), UInt8(group & 255)]
            }
        }
        return bytes
    }
}

/// A range of addresses in CIDR notation, `10.0.0.0/8`, or one address.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    package let prefixLength: Int
    private let text: String

    package init?(_ text: String) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count <= 2, let address = IPAddress(String(halves[0])) else { return nil }
        let width = address.bytes.count * 8
        if halves.count == 2 {
            guard (1...3).contains(halves[1].utf8.count),
                halves[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let length = Int(halves[1]), length <= width
            else { return nil }
            prefixLength = length
        } else {
            prefixLength = width
        }
        self.address = address
        self.text = text
    }

    package var description: String { text }

    /// An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`) counts as the IPv4 address.
    package func contains(_ candidate: IPAddress) -> Bool {
        var bytes = candidate.bytes
        if bytes.count == 16, bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 255, bytes[11] == 255 {
            bytes.removeFirst(12)
        }
        guard bytes.count == address.bytes.count else { return false }
        var left = prefixLength
        for (own, other) in zip(address.bytes, bytes) where left > 0 {
            let mask: UInt8 = left >= 8 ? 255 : ~(255 >> UInt8(left))
            if own & mask != other & mask { return false }
            left -= 8
        }
        return true
    }
}
