import Platform
import Testing

@Suite struct `A sliding-window limiter` {
    private static let start: Int64 = 1_800_000_000_000 - 1_800_000_000_000 % 60_000

    @Test func `allows the limit and not one more`() {
        let limiter = Limiter(windowMilliseconds: 60_000)
        for used in 1...5 {
            let decision = limiter.take("a", limit: 5, now: Self.start)
            #expect(decision.outcome == .allowed)
            #expect(decision.remaining == 5 - used)
        }
        let refused = limiter.take("a", limit: 5, now: Self.start)
        #expect(refused.outcome != .allowed)
        #expect(refused.remaining == 0)
        #expect(limiter.take("b", limit: 5, now: Self.start).outcome == .allowed)
    }

    @Test func `frees the limit as the window slides on`() {
        let limiter = Limiter(windowMilliseconds: 60_000)
        for _ in 0..<10 { _ = limiter.take("a", limit: 10, now: Self.start) }
        // At the beginning of the next window nothing is free yet, in its middle half of it is.
        #expect(limiter.take("a", limit: 10, now: Self.start + 60_000).outcome != .allowed)
        var allowed = 0
        for _ in 0..<10 where limiter.take("a", limit: 10, now: Self.start + 90_000).outcome == .allowed {
            allowed += 1
        }
        #expect(allowed == 5)
        #expect(limiter.take("a", limit: 10, now: Self.start + 300_000).remaining == 9)
    }

    @Test func `tells a time after which it allows, and no earlier`() {
        var generator = SeededGenerator(seed: 7)
        for round in 0..<300 {
            let limiter = Limiter(windowMilliseconds: 10_000)
            let limit = Int.random(in: 1...20, using: &generator)
            var now = Self.start + Int64.random(in: 0..<10_000, using: &generator)
            for _ in 0..<200 {
                let decision = limiter.take("a", limit: limit, now: now)
                if case .refused(let seconds) = decision.outcome {
                    #expect(seconds >= 1 && seconds <= 20, "round \(round)")
                    let later = limiter.copy()
                    #expect(
                        later.take("a", limit: limit, now: now + Int64(seconds) * 1000).outcome == .allowed,
                        "round \(round), limit \(limit), seed 7")
                }
                now += Int64.random(in: 0...1500, using: &generator)
            }
        }
    }

    @Test func `never allows much more than the limit in any window`() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<50 {
            let limiter = Limiter(windowMilliseconds: 10_000)
            let limit = Int.random(in: 1...30, using: &generator)
            var now = Self.start
            var allowed: [Int64] = []
            for _ in 0..<2000 {
                if limiter.take("a", limit: limit, now: now).outcome == .allowed { allowed.append(now) }
                now += Int64.random(in: 0...100, using: &generator)
            }
            for (index, time) in allowed.enumerated() {
                let inWindow = allowed[index...].prefix { $0 < time + 10_000 }.count
                // Two buckets err by what was uneven inside the older one: never beyond twice the limit.
                #expect(inWindow <= 2 * limit, "limit \(limit), seed 11")
            }
        }
    }

    @Test func `doesn't count what it refuses`() {
        let limiter = Limiter(windowMilliseconds: 60_000)
        for _ in 0..<1000 { _ = limiter.take("a", limit: 2, now: Self.start) }
        #expect(limiter.take("a", limit: 2, now: Self.start + 120_000).remaining == 1)
    }

    @Test func `survives a clock that goes back, and a limit of nothing`() {
        let limiter = Limiter(windowMilliseconds: 60_000)
        #expect(limiter.take("a", limit: 1, now: Self.start).outcome == .allowed)
        #expect(limiter.take("a", limit: 1, now: Self.start - 500_000).outcome != .allowed)
        #expect(limiter.take("b", limit: 0, now: Self.start).outcome == .refused(retryAfterSeconds: 60))
    }

    @Test func `keeps its memory bounded under a flood of keys`() {
        let limiter = Limiter(windowMilliseconds: 60_000, keysMax: 100)
        for index in 0..<10_000 { _ = limiter.take("key-\(index)", limit: 5, now: Self.start) }
        #expect(limiter.keyCount == 100)
    }
}

@Suite struct `A table of bounded size` {
    @Test func `forgets what was not used for longest`() {
        var table = LRUTable<String, Int>(capacity: 3)
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] { table.update(key, initial: value) { _ in } }
        table.update("a", initial: 0) { $0 += 10 }
        table.update("d", initial: 4) { _ in }
        #expect(table.peek("b") == nil)
        #expect([table.peek("a"), table.peek("c"), table.peek("d")] == [11, 3, 4])
        #expect(table.count == 3)
    }

    @Test func `behaves like a slow model`() {
        var generator = SeededGenerator(seed: 3)
        var table = LRUTable<Int, Int>(capacity: 8)
        var model: [(key: Int, value: Int)] = []
        for step in 0..<5000 {
            let key = Int.random(in: 0..<20, using: &generator)
            table.update(key, initial: step) { $0 += 1 }
            if let index = model.firstIndex(where: { $0.key == key }) {
                let entry = model.remove(at: index)
                model.append((key, entry.value + 1))
            } else {
                if model.count == 8 { model.removeFirst() }
                model.append((key, step + 1))
            }
            for key in 0..<20 {
                #expect(table.peek(key) == model.first { $0.key == key }?.value, "step \(step), seed 3")
            }
        }
    }
}

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

/// `#expect` can't hold a call that mutates a value; a method of an object it can.
private final class Limiter {
    private var limiter: SlidingWindowLimiter
    init(windowMilliseconds: Int64, keysMax: Int = 16_384) {
        limiter = SlidingWindowLimiter(windowMilliseconds: windowMilliseconds, keysMax: keysMax)
    }
    private init(_ limiter: SlidingWindowLimiter) { self.limiter = limiter }
    var keyCount: Int { limiter.keyCount }
    func copy() -> Limiter { Limiter(limiter) }
    func take(_ key: String, limit: Int, now: Int64) -> SlidingWindowLimiter.Decision {
        limiter.take(key, limit: limit, now: now)
    }
}
