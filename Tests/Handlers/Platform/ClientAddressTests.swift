import Platform
import Testing

@Suite struct `The key of a client address` {
    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("::ffff:c000:207", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8::1", "2001:db8:0:0::/64"), ("::1", "0:0:0:0::/64"), ("fe80::1%eth0", "fe80:0:0:0::/64"),
        ("unknown", "unknown"), ("1:2:3", "1:2:3"), ("::1::2", "::1::2"), ("12345::", "12345::"),
    ]) func `is the IPv4 address or the IPv6 network`(address: String, key: String) {
        #expect(ClientAddress.limitKey(address) == key)
    }

    @Test func `is bounded`() {
        #expect(ClientAddress.limitKey(String(repeating: "x", count: 10_000)).utf8.count == 64)
        #expect(ClientAddress.limitKey(String(repeating: ":", count: 10_000)).utf8.count == 64)
    }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
