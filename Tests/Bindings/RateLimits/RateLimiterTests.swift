import Interfaces
import Stores
import System
import Testing

@testable import StoresRateLimits

@Suite struct `A sliding window` {
    private static let period: Int64 = 10_000_000_000

    @Test func `allows the limit and not one more`() {
        var window = SlidingWindow()
        for used in 1...5 {
            let outcome = window.take(limit: 5, period: Self.period, now: 1)
            #expect(outcome.success && outcome.remaining == 5 - used && outcome.limit == 5)
        }
        let refused = window.take(limit: 5, period: Self.period, now: 1)
        #expect(!refused.success && refused.remaining == 0)
        #expect(refused.retryAfter == .seconds(10) && refused.reset == .seconds(10))
    }

    @Test func `gives back each call when it leaves the window, to the nanosecond`() {
        var window = SlidingWindow()
        for second in 0..<5 { _ = window.take(limit: 5, period: Self.period, now: Int64(second) * 1_000_000_000) }
        let early = window.take(limit: 5, period: Self.period, now: Self.period - 1)
        #expect(!early.success && early.retryAfter == .nanoseconds(1) && early.reset == .nanoseconds(4_000_000_001))
        let free = window.take(limit: 5, period: Self.period, now: Self.period)
        #expect(free.success && free.remaining == 0 && free.retryAfter == .seconds(1))
        let next = window.take(limit: 5, period: Self.period, now: Self.period)
        #expect(!next.success)
    }

    @Test func `doesn't count what it refuses`() {
        var window = SlidingWindow()
        for _ in 0..<1000 { _ = window.take(limit: 2, period: Self.period, now: 5) }
        let outcome = window.take(limit: 2, period: Self.period, now: 5 + Self.period)
        #expect(outcome.success && outcome.remaining == 1)
    }

    /// The model keeps all moments of allowed calls and counts those within the period.
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8])
    func `is exact below 4096, and never early above`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<(seed % 2 == 0 ? 20 : 1) {
            let limit =
                seed % 2 == 0 ? Int.random(in: 1...40, using: &generator) : Int.random(in: 4097...5000, using: &generator)
            let step = limit > 40 ? 8_000_000 : 2_000_000_000
            var window = SlidingWindow()
            var model: [Int64] = []
            var now: Int64 = 0
            for turn in 0..<(limit > 40 ? 6500 : 400) {
                now += Int64.random(in: 0...Int64(step), using: &generator) * Int64.random(in: 0...1, using: &generator)
                model.removeAll { $0 <= now - Self.period }
                let outcome = window.take(limit: limit, period: Self.period, now: now)
                if outcome.success {
                    model.append(now)
                    #expect(model.count <= limit, "seed \(seed), turn \(turn)")
                } else if limit <= SlidingWindow.exactMax {
                    #expect(model.count == limit, "seed \(seed), turn \(turn)")
                    // The promise is kept, and not a nanosecond earlier.
                    let wait = outcome.retryAfter.wholeNanoseconds
                    var (early, late) = (window, window)
                    let (tooEarly, inTime) = (
                        early.take(limit: limit, period: Self.period, now: now + wait - 1),
                        late.take(limit: limit, period: Self.period, now: now + wait)
                    )
                    #expect(!tooEarly.success && inTime.success, "seed \(seed), turn \(turn)")
                } else {
                    // What was rounded up comes back late by less than two steps.
                    let late = model.count(where: { $0 > now - Self.period + 2 * Self.period / 4096 })
                    #expect(late <= limit && model.count >= limit - 64, "seed \(seed), turn \(turn)")
                }
                if limit <= SlidingWindow.exactMax {
                    #expect(outcome.remaining == limit - model.count, "seed \(seed), turn \(turn)")
                }
            }
        }
    }

    @Test func `stays small whatever the limit is`() {
        var window = SlidingWindow()
        for call in 0..<200_000 {
            _ = window.take(limit: 1_000_000_000, period: Self.period, now: Int64(call) * 100_000)
        }
        #expect(window.byteCount < 300_000)
    }

    @Test func `lets two limits share one key`() {
        var window = SlidingWindow()
        for call in 0..<6000 { #expect(window.take(limit: 10_000, period: Self.period, now: Int64(call)).success) }
        let small = window.take(limit: 5, period: Self.period, now: 7000)
        #expect(!small.success && small.remaining == 0)
        #expect(window.take(limit: 10_000, period: Self.period, now: 7001).remaining == 3999)
    }
}

@Suite struct `The rate limits of a tenant` {
    private let clock = VirtualClock()

    @Test func `count per namespace, key and period`() {
        let limiter = RateLimiter(clock: clock)
        func take(_ key: String, _ namespace: String, _ period: Int) -> Bool {
            limiter.take(key, in: namespace, limit: 1, periodSeconds: period).success
        }
        #expect(take("a", "1", 10))
        #expect(!take("a", "1", 10))
        #expect(take("b", "1", 10))
        #expect(take("a", "2", 10))
        #expect(take("a", "1", 60))
        clock.advance(by: .seconds(10))
        #expect(take("a", "1", 10))
        #expect(!take("a", "1", 60))
    }

    @Test func `keys that look alike and differ in bytes are two`() {
        let limiter = RateLimiter(clock: VirtualClock())
        for (key, namespace) in [("\u{e9}", "n"), ("e\u{301}", "n"), ("\u{e9}", "\u{e9}"), ("\u{e9}", "e\u{301}")] {
            #expect(limiter.take(key, in: namespace, limit: 1, periodSeconds: 10).success)
            #expect(!limiter.take(key, in: namespace, limit: 1, periodSeconds: 10).success)
        }
    }

    @Test func `forget what was quiet for longest when there is no more room`() {
        let limiter = RateLimiter(clock: clock, bytesMax: 64 << 10)
        _ = limiter.take("first", in: "", limit: 1, periodSeconds: 60)
        for index in 0..<100_000 {
            _ = limiter.take("key-\(index)", in: "", limit: 5, periodSeconds: 60)
            if index % 100 == 0 {
                let outcome = limiter.take("busy", in: "", limit: 1, periodSeconds: 60)
                #expect(outcome.success == (index == 0))
            }
        }
        #expect(limiter.byteCount <= 64 << 10)
        #expect((100...400).contains(limiter.keyCount))
        let forgotten = limiter.take("first", in: "", limit: 1, periodSeconds: 60)
        #expect(forgotten.success)
    }

    @Test func `leave the table when their window is over`() {
        let limiter = RateLimiter(clock: clock)
        for index in 0..<1000 { _ = limiter.take("key-\(index)", in: "", limit: 5, periodSeconds: 10) }
        #expect(limiter.keyCount == 1000)
        clock.advance(by: .seconds(10))
        for _ in 0..<500 { _ = limiter.take("one", in: "", limit: 1_000_000, periodSeconds: 10) }
        #expect(limiter.keyCount == 1)
        #expect(limiter.byteCount < 1 << 16)
    }

    @Test func `are exact when many threads ask`() async {
        let limiter = RateLimiter(clock: clock)
        let allowed = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    (0..<1000).count(where: { _ in limiter.take("k", in: "", limit: 777, periodSeconds: 60).success })
                }
            }
            return await group.reduce(0, +)
        }
        #expect(allowed == 777)
    }
}

@Suite struct `A rate limit binding` {
    private let clock = VirtualClock()

    private func binding(limit: Int = 5, period: Int = 10) throws -> RateLimit {
        let service = try RateLimitService(
            RateLimiter(clock: clock), namespace: "n", limit: limit, periodSeconds: period)
        return RateLimit(transport: InPlaceTransport(service), binding: 0)
    }

    @Test func `probe 17: the sixth of five is refused, another key is not`() async throws {
        let limit = try binding()
        for _ in 0..<5 { #expect(try await limit.limit(key: "a").success) }
        let sixth = try await limit.limit(key: "a")
        #expect(!sixth.success)
        #expect(try await limit.limit(key: "b").success)
        clock.advance(by: .seconds(10))
        #expect(try await limit.limit(key: "a").success)
        #expect(throws: CallFailure("unsupported period: 30")) { try binding(period: 30) }
    }

    @Test(arguments: [(512, true), (513, false)])
    func `takes keys of up to 512 bytes`(count: Int, isTaken: Bool) async throws {
        let key = String(repeating: "k", count: count)
        do {
            #expect(try await binding().limit(key: key).success && isTaken)
        } catch let failure as CallFailure {
            #expect(!isTaken && failure.message == "invalid key: it has 513 bytes, at most 512 are allowed")
        }
    }

    @Test func `refuses messages that the SDK doesn't send`() throws {
        let service = try RateLimitService(RateLimiter(clock: clock), namespace: "n", limit: 5, periodSeconds: 10)
        for message in [[], [5, 0, 0, 0, 65], [1, 0, 0, 0, 0xFF]] as [[UInt8]] {
            let failure = #expect(throws: CallFailure.self) {
                try service.answerInPlace(StoreCall(.rateLimit, message: message))
            }
            #expect(failure?.isMalformedCall == true)
        }
        #expect(throws: CallFailure.self) { try service.answerInPlace(StoreCall(.kvGet, message: [])) }
    }
}

@Suite struct `A table of least recent use` {
    @Test func `behaves like a slow model`() {
        var generator = SeededGenerator(seed: 3)
        var table = LRUTable<Int, Int>()
        var model: [(key: Int, value: Int)] = []
        for step in 0..<5000 {
            let key = Int.random(in: 0..<20, using: &generator)
            if key < 3 {
                let removed = table.removeOldest()
                #expect(removed?.key == model.first?.key && removed?.value == model.first?.value, "step \(step), seed 3")
                if !model.isEmpty { model.removeFirst() }
                continue
            }
            let index = model.firstIndex { $0.key == key }
            table.update(key, initial: step) { value, isNew in
                #expect(isNew == (index == nil), "step \(step), seed 3")
                value += 1
            }
            let entry = index.map { model.remove(at: $0) }
            model.append((key, (entry?.value ?? step) + 1))
            #expect(table.count == model.count && table.oldest?.key == model.first?.key, "step \(step), seed 3")
            for key in 0..<20 {
                #expect(table.peek(key) == model.first { $0.key == key }?.value, "step \(step), seed 3")
            }
        }
    }
}

/// Asks a service as a reactor does: without waiting.
final class InPlaceTransport: BindingTransport {
    private let service: any StoreService

    init(_ service: any StoreService) { self.service = service }

    func perform(_ call: BindingCall) async throws -> BindingReply {
        let reply = try service.answerInPlace(StoreCall(call.kind, message: call.message))
        return BindingReply(message: try #require(reply).message)
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
