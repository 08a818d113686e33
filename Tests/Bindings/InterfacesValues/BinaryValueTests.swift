import Interfaces
import Testing

/// Values that are stored and sent: what goes in comes out, and nothing that comes in makes the reader crash or spend memory.
struct BinaryValueTests {
    struct Everything: Codable, Equatable {
        enum Kind: String, Codable { case one, two }
        enum Shape: Codable, Equatable {
            case point
            case circle(radius: Double)
        }
        var smallest = Int64.min
        var largest = UInt64.max
        var tiny: Int8 = -7
        var fraction = 0.1
        var single: Float = 1.5
        var text = "héllo 🌍"
        var bytes: [UInt8] = [0, 1, 255]
        var nothing: Int?
        var something: Int? = 5
        var list = [[1, 2], [], [3]]
        var table = ["a": 1, "b": 2]
        var numbers: [Int: String] = [7: "seven"]
        var kind = Kind.two
        var shapes = [Shape.point, .circle(radius: 2)]
        var isTrue = true
        var optionals: [Int?] = [1, nil, 3]
    }

    class Base: Codable {
        var base = 1
        init() {}
    }

    final class Derived: Base {
        var derived = 2
        enum Keys: CodingKey { case derived }
        override init() { super.init() }
        required init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Keys.self)
            derived = try container.decode(Int.self, forKey: .derived)
            try super.init(from: container.superDecoder())
        }
        override func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(derived, forKey: .derived)
            try super.encode(to: container.superEncoder())
        }
    }

    @Test func whatGoesInComesOut() throws {
        let value = Everything()
        let bytes = try BinaryValueEncoder.encode(value)
        #expect(try BinaryValueDecoder.decode(Everything.self, from: bytes) == value)
    }

    @Test func classesWithParentsComeOut() throws {
        let derived = Derived()
        (derived.base, derived.derived) = (10, 20)
        let copy = try BinaryValueDecoder.decode(Derived.self, from: BinaryValueEncoder.encode(derived))
        #expect(copy.base == 10 && copy.derived == 20)
    }

    /// Examples of RFC 8949, appendix A.
    @Test(arguments: [
        ("0", [0x00]), ("23", [0x17]), ("24", [0x18, 0x18]), ("1000000000000", [0x1B, 0, 0, 0, 0xE8, 0xD4, 0xA5, 0x10, 0]),
        ("-1", [0x20]), ("-100", [0x38, 0x63]), ("-1000", [0x39, 0x03, 0xE7]),
    ])
    func integersAreAsTheStandardHasThem(_ text: String, _ expected: [UInt8]) throws {
        #expect(try BinaryValueEncoder.encode(#require(Int64(text))) == expected)
        #expect(try BinaryValueDecoder.decode(Int64.self, from: expected) == Int64(text))
    }

    @Test func bytesTakeNoMoreThanTheyAre() throws {
        #expect(try BinaryValueEncoder.encode([UInt8](repeating: 200, count: 1000)).count == 1003)
    }

    @Test func anotherTypeIsNamed() throws {
        let bytes = try BinaryValueEncoder.encode(["a": "text"])
        #expect(throws: DecodingError.self) { try BinaryValueDecoder.decode([String: Int].self, from: bytes) }
        #expect(throws: DecodingError.self) { try BinaryValueDecoder.decode(Int8.self, from: BinaryValueEncoder.encode(300)) }
        #expect(throws: DecodingError.self) { try BinaryValueDecoder.decode(UInt.self, from: BinaryValueEncoder.encode(-1)) }
    }

    @Test(arguments: [
        [], [0x1C], [0x61], [0x61, 0xFF], [0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [0xBF], [0xC0, 0x00],
        [0xA1, 0x01, 0x01], [0x00, 0x00], [0xF7], [0x5B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00],
        [UInt8](repeating: 0x81, count: 100_000),
    ])
    func whatIsNoValueIsRefused(_ bytes: [UInt8]) {
        #expect(throws: BinaryValueError.self) { try BinaryValue(decoding: bytes) }
    }

    @Test func randomBytesNeverCrash() {
        var generator = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0...UInt64.max, using: &generator)
        var state = seed
        func next() -> UInt8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
        for _ in 0..<20_000 {
            let bytes = (0..<Int(next() % 24)).map { _ in next() }
            guard let value = try? BinaryValue(decoding: bytes) else { continue }
            #expect((try? BinaryValue(decoding: value.encoded())) == value, "seed \(seed)")
        }
    }
}
