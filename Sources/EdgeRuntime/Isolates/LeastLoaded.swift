/// Chooses the isolate with the fewest open events. Few are compared all; among many, two picked at
/// random, which is nearly as even and costs the same whatever their number (Mitzenmacher, "The Power of
/// Two Choices", 2001).
///
/// One per reactor; not shared.
package struct LeastLoaded: Sendable {
    /// Up to here all are compared.
    package static let scanMax = 16
    private var state: UInt64

    package init(seed: UInt64) { state = seed | 1 }

    /// - Parameter load: Of the candidate at an index; `nil` when it can't take more.
    /// - Returns: An index in 0..<`count`, `nil` when none can take more.
    package mutating func choose(count: Int, load: (Int) -> Int?) -> Int? {
        guard count > Self.scanMax else { return scan(count, load) }
        let first = random(below: count)
        var second = random(below: count - 1)
        if second >= first { second += 1 }
        switch (load(first), load(second)) {
        case (let left?, let right?): return left <= right ? first : second
        case (_?, nil): return first
        case (nil, _?): return second
        case (nil, nil): return scan(count, load)
        }
    }

    /// Begins at a random place, so that equals share the work.
    private mutating func scan(_ count: Int, _ load: (Int) -> Int?) -> Int? {
        guard count > 0 else { return nil }
        let start = random(below: count)
        var best: (index: Int, load: Int)?
        for step in 0..<count {
            let index = start + step < count ? start + step : start + step - count
            guard let load = load(index) else { continue }
            if load == 0 { return index }
            if best.map({ load < $0.load }) ?? true { best = (index, load) }
        }
        return best?.index
    }

    /// xorshift64*; the choice needs no better one.
    private mutating func random(below bound: Int) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        let high = (state &* 0x2545_f491_4f6c_dd1d) >> 32
        return Int((high &* UInt64(bound)) >> 32)
    }
}
