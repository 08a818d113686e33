/// A generator that gives the same numbers for the same seed on every machine.
struct SplitMix64: RandomNumberGenerator {
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

extension [UInt8] {
    /// The bytes cut at random places; pieces may be empty.
    func pieces(using random: inout SplitMix64) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = self[...]
        while !rest.isEmpty {
            let longest = Bool.random(using: &random) ? 8 : 400
            let piece = rest.prefix(Int.random(in: 0...longest, using: &random))
            pieces.append(Array(piece))
            rest = rest.dropFirst(piece.count)
        }
        return pieces
    }

    /// Byte by byte; in the middle of something very long, in larger pieces.
    func smallPieces() -> [[UInt8]] {
        guard count > 8000 else { return map { [$0] } }
        var pieces = self[..<3000].map { [$0] }
        var offset = 3000
        while offset < count - 3000 {
            let end = Swift.min(offset + 997, count - 3000)
            pieces.append(Array(self[offset..<end]))
            offset = end
        }
        return pieces + self[offset...].map { [$0] }
    }
}
