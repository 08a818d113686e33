/// The key that limits per address count by: an IPv4 address as it is, an IPv6 address by its /64, because
/// whoever has one address of such a network has them all.
package enum ClientAddress {
    package static func limitKey(_ address: String) -> String {
        guard address.contains(":"), let groups = ipv6Groups(address) else {
            return String(address.prefix(64))
        }
        // ::ffff:a.b.c.d is an IPv4 client.
        if groups[0..<5].allSatisfy({ $0 == 0 }), groups[5] == 0xFFFF {
            return "\(groups[6] >> 8).\(groups[6] & 255).\(groups[7] >> 8).\(groups[7] & 255)"
        }
        return groups.prefix(4).map { String($0, radix: 16) }.joined(separator: ":") + "::/64"
    }

    private static func ipv6Groups(_ address: String) -> [UInt16]? {
        let text = address.prefix { $0 != "%" }
        guard text.utf8.count <= 45 else { return nil }
        let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        guard halves.count <= 2 else { return nil }
        func groups(_ half: Substring) -> [UInt16]? {
            guard !half.isEmpty else { return [] }
            var groups: [UInt16] = []
            for part in half.split(separator: ":", omittingEmptySubsequences: false) {
                if part.contains(".") {
                    let bytes = part.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
                    guard bytes.count == 4, let a = bytes[0], let b = bytes[1], let c = bytes[2],
                        let d = bytes[3]
                    else { return nil }
                    groups += [UInt16(a) << 8 | UInt16(b), UInt16(c) << 8 | UInt16(d)]
                } else {
                    guard part.utf8.count <= 4, let group = UInt16(part, radix: 16) else { return nil }
                    groups.append(group)
                }
            }
            return groups
        }
        guard let head = groups(halves[0]) else { return nil }
        guard halves.count == 2 else { return head.count == 8 ? head : nil }
        guard let tail = groups(halves[1]), head.count + tail.count < 8 else { return nil }
        return head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    }
}
