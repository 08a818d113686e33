package import Curl

/// How far an address reaches, after IANA's registries of special-purpose addresses
/// (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry).
package enum AddressReach: Equatable, Sendable {
    /// A host of the public internet.
    case global
    /// This machine, its neighbours, its provider's metadata service, documentation, protocol assignments.
    case special
    /// Multicast, broadcast and reserved: no connection leads there.
    case unusable

    package init(_ address: PeerAddress) {
        switch address {
        case .v4(let bits): self = Self.v4(bits)
        case .v6(let high, let low): self = Self.v6(high, low)
        }
    }

    private static func v4(_ bits: UInt32) -> AddressReach {
        func isIn(_ a: UInt32, _ b: UInt32, _ c: UInt32, _ length: UInt32) -> Bool {
            let mask = UInt32.max << (32 - length)
            return bits & mask == (a << 24 | b << 16 | c << 8) & mask
        }
        if bits >= 0xE000_0000 { return .unusable }  // 224/4 multicast, 240/4 reserved and broadcast.
        let isSpecial =
            isIn(0, 0, 0, 8) || isIn(10, 0, 0, 8) || isIn(100, 64, 0, 10) || isIn(127, 0, 0, 8)
            || isIn(169, 254, 0, 16) || isIn(172, 16, 0, 12) || isIn(192, 0, 0, 24) || isIn(192, 0, 2, 24)
            || isIn(192, 88, 99, 24) || isIn(192, 168, 0, 16) || isIn(198, 18, 0, 15)
            || isIn(198, 51, 100, 24) || isIn(203, 0, 113, 24)
        return isSpecial ? .special : .global
    }

    private static func v6(_ high: UInt64, _ low: UInt64) -> AddressReach {
        if high >> 56 == 0xFF { return .unusable }  // ff00::/8
        if high == 0, low >> 32 == 0xFFFF { return v4(UInt32(truncatingIfNeeded: low)) }  // ::ffff:0:0/96
        // NAT64
        if high == 0x0064_FF9B_0000_0000, low >> 32 == 0 { return v4(UInt32(truncatingIfNeeded: low)) }
        if high >> 48 == 0x2002 { return v4(UInt32(truncatingIfNeeded: high >> 16)) }  // 6to4
        guard high >> 61 == 1 else { return .special }  // Only 2000::/3 is handed out to hosts.
        let isSpecial =
            high >> 41 == 0x2001_0000 >> 9  // 2001::/23, Teredo among it
            || high >> 32 == 0x2001_0DB8  // documentation
            || high >> 44 == 0x3FFF_0  // documentation
        return isSpecial ? .special : .global
    }
}
