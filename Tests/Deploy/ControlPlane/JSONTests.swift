import Interfaces
import Testing

@testable import ControlPlane

@Suite struct `JSON text` {
    private static func read(_ text: [UInt8], inPiecesOf size: Int) -> JSON? {
        var (events, builder) = (JSONEvents(), JSONBuilder())
        var rest = text[...]
        do {
            while true {
                let event = try events.next()
                try builder.take(event)
                if event == .ended { return builder.value }
                guard event == .needsBytes else { continue }
                if rest.isEmpty { events.finish() } else { events.feed(Array(rest.prefix(size))) }
                rest = rest.dropFirst(size)
            }
        } catch { return nil }
    }

    private static let accepted: [(text: String, value: JSON)] = [
        ("null", .null), (" true ", true), ("[]", .array([])), ("{}", .object([:])), ("-0", 0), ("12", 12), ("1.5e3", 1500),
        ("0.25", .number(0.25)), ("[1,[2,{}],3]", .array([1, .array([2, .object([:])]), 3])),
        (#"{"b":1,"a":"x","b":[null]}"#, .object(["a": "x", "b": .array([.null])])),
        (#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{C}\n\r\t"), (#""\u20ac\ud83d\ude00\u00e9""#, "€😀é"), ("\"€😀\"", "€😀"),
        (#""\ud83d""#, "\u{FFFD}"), (#""\ud83dx\ude00""#, "\u{FFFD}x\u{FFFD}"), (#""\ud83d\n""#, "\u{FFFD}\n"),
    ]

    @Test(arguments: accepted.indices)
    func `is read the same, in whatever pieces it comes`(_ index: Int) {
        let (text, value) = Self.accepted[index]
        #expect(JSON(Array(text.utf8)) == value)
        for size in 1...7 { #expect(Self.read(Array(text.utf8), inPiecesOf: size) == value) }
    }

    @Test(arguments: [
        "", " ", "nul", "nulls", "tru", "01", "1.", ".5", "+1", "-", "1e", "1e+", "0x1", "NaN", "1e999", "[", "]", "[1", "[1,]",
        "[,1]", "[1 2]", "{", "{1:2}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{"a" 1}"#, #"{"a":1 "b":2}"#, "[}", "{]", "1 2",
        "\"", "\"\n\"", #""\x""#, #""\u12""#, #""\u12g4""#, #""\"#, "'a'", "[1]]", "// x\n1",
    ])
    func `that is none is refused, in whatever pieces it comes`(_ text: String) {
        #expect(JSON(Array(text.utf8)) == nil)
        for size in 1...7 { #expect(Self.read(Array(text.utf8), inPiecesOf: size) == nil) }
    }

    @Test func `must be UTF-8, and not too deep`() {
        #expect(JSON([0x22, 0xFF, 0x22]) == nil)
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        #expect(JSON(nested(512)) != nil)
        #expect(JSON(nested(513)) == nil)
    }

    @Test func `agrees with the grammar on text that was changed at random`() {
        let seed = UInt64.random(in: 1...UInt64.max)
        var generator = Xorshift(state: seed)
        let alphabet = Array(#"[]{}:,"\/u0019e+-.tfn a"#.utf8)
        for _ in 0..<20_000 {
            let entry = Self.accepted[Int(generator.next() % UInt64(Self.accepted.count))]
            var text = Array(entry.text.utf8)
            for _ in 0...Int(generator.next() % 3) {
                let place = Int(generator.next() % UInt64(text.count + 1))
                let byte = alphabet[Int(generator.next() % UInt64(alphabet.count))]
                if place == text.count || generator.next() % 2 == 0 { text.insert(byte, at: place) } else { text[place] = byte }
            }
            var events = JSONEvents()
            events.feed(text)
            events.finish()
            var isAccepted: Bool?
            while isAccepted == nil {
                do {
                    if try events.next() == .ended { isAccepted = true }
                } catch { isAccepted = false }
            }
            #expect(isAccepted == JSONGrammar.accepts(text[...]), "seed \(seed): \(String(decoding: text, as: UTF8.self))")
        }
    }

    @Test func `known to be such is written as it stands`() {
        let value = JSON.object(["a": .verbatim(Array(#"{"b": 1.50}"#.utf8)), "c": "\u{1}\""])
        #expect(String(decoding: value.bytes, as: UTF8.self) == #"{"a":{"b": 1.50},"c":"\u0001\""}"#)
    }

    private struct Xorshift {
        var state: UInt64
        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }
}
