internal import Interfaces
internal import OpenSSL

/// Names a durable object: 16 bytes of its own, and 16 that prove that they belong to its namespace. So no two namespaces have an id
/// in common (spec: durable-objects, section 1).
package struct ObjectID: Hashable, Sendable, CustomStringConvertible {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    /// - Parameter bytes: 32; `nil` for any other number.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == ObjectReference.idByteCount else { return nil }
        func word(_ index: Int) -> UInt64 { bytes[(8 * index)..<(8 * index + 8)].reduce(0) { $0 << 8 | UInt64($1) } }
        words = (word(0), word(1), word(2), word(3))
    }

    /// - Parameter text: 64 hexadecimal digits.
    package init?(text: String) {
        let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue.map(UInt8.init) }
        guard text.utf8.count == 64, digits.count == 64 else { return nil }
        self.init(stride(from: 0, to: 64, by: 2).map { digits[$0] << 4 | digits[$0 + 1] })
    }

    package var bytes: [UInt8] {
        var all: [UInt8] = []
        all.reserveCapacity(32)
        for word in [words.0, words.1, words.2, words.3] {
            for shift in stride(from: 56, through: 0, by: -8) { all.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
        }
        return all
    }

    /// 64 lower-case hexadecimal digits.
    package var description: String { bytes.map { Self.digits[Int($0 >> 4)] + Self.digits[Int($0 & 15)] }.joined() }
    private static let digits = "0123456789abcdef".map(String.init)

    /// Where it stands on the line of 10,000 points that versions share: always at the same place.
    package var point: Int { Int((words.0 >> 16) % 10_000) }

    package static func == (a: Self, b: Self) -> Bool { a.words == b.words }
    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.2)
    }

    /// Whether the second half proves that it belongs to the namespace with `key`, or to it in a jurisdiction.
    func belongs(to key: [UInt8]) -> Bool {
        let bytes = bytes
        let (body, proof) = (Array(bytes.prefix(16)), Array(bytes.suffix(16)))
        if Self.proof(of: body, key: key) == proof { return true }
        return Self.jurisdictions.contains { name in
            let key = MessageAuthentication.hmac(Array("jurisdiction \(name)".utf8), key: key, .sha256)
            return Self.proof(of: body, key: key) == proof
        }
    }

    static func proof(of body: [UInt8], key: [UInt8]) -> [UInt8] {
        Array(MessageAuthentication.hmac(body, key: key, .sha256).prefix(16))
    }

    package static let jurisdictions = ["eu", "fedramp"]
}
