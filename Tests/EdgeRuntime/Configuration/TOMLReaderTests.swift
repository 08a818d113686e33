import Configuration
import Testing

@Suite struct `TOML reader` {
    private func read(_ text: String) throws -> DocumentTable {
        try TOMLReader.read(SourceText(name: "test.toml", text: text))
    }

    private func place(_ location: SourcePlace?) -> String {
        location.map { "\($0.line):\($0.column)+\($0.length)" } ?? "nowhere"
    }

    @Test func `keeps the places of dotted keys and inline tables`() throws {
        let document = try read(
            """
            a.b . "c" = { x = 1, y.z = [ 'q', 2.5 ] }
            [t.u]
              k = "ä€😀" # four
            "ключ" = true
            """)
        let a = try #require(document.entry("a"))
        #expect(place(a.keyLocation) == "1:1+1")
        let b = try #require(a.value.table?.entry("b"))
        #expect(place(b.keyLocation) == "1:3+1")
        let c = try #require(b.value.table?.entry("c"))
        #expect(place(c.keyLocation) == "1:7+3")
        #expect(place(c.value.location) == "1:13+29")
        let y = try #require(c.value.table?.entry("y"))
        #expect(place(y.keyLocation) == "1:22+1")
        let z = try #require(y.value.table?.entry("z"))
        #expect(place(z.keyLocation) == "1:24+1")
        #expect(place(z.value.location) == "1:28+12")
        #expect(z.value.array?.map { place($0.location) } == ["1:30+3", "1:35+3"])
        let u = try #require(document["t"]?.table?.entry("u"))
        #expect(place(u.keyLocation) == "2:4+1")
        #expect(place(u.value.location) == "2:1+5")
        let k = try #require(u.value.table?.entry("k"))
        #expect(place(k.value.location) == "3:7+5")
        #expect(k.value.location.byteCount == 11)
        #expect(place(u.value.table?.entry("ключ")?.keyLocation) == "4:1+6")
    }

    @Test func `counts columns behind a byte order mark and CRLF`() throws {
        let document = try read("\u{FEFF}a = 1\r\nb = 2\r\n")
        #expect(place(document.entry("a")?.keyLocation) == "1:1+1")
        #expect(place(document["a"]?.location) == "1:5+1")
        #expect(place(document["b"]?.location) == "2:5+1")
    }

    @Test(arguments: [
        ("a = 1\na = 2", "2:1", "key a is defined twice; first at test.toml:1:1"),
        ("[a]\n[a]", "2:1", "table a is defined twice; first at test.toml:1:1"),
        ("a = ", "1:5", "expected a value, found the end of the file"),
        ("a = \nb = 1", "1:5", "expected a value, found the end of the line"),
        ("a = hello", "1:5", "\"hello\" is no value"),
        ("a 1", "1:3", "expected \"=\" after the key a, found \"1\""),
        ("a = \"x", "1:5", "this string is never closed"),
        ("a = \"x\ny", "1:5", "this string has no closing quote on its line"),
        ("x = 1\na = [1,\n2", "2:5", "this array is never closed"),
        ("a = [1 2]", "1:8", "expected \",\" or \"]\" in the array, found \"2\""),
        ("a = { b = 1,\n }", "1:13", "an inline table must stand on one line"),
        ("a = { b = 1, }", "1:14", "an inline table can't end with a comma"),
        ("a = 1 b = 2", "1:7", "expected the end of the line, found \"b\""),
        ("a = 012", "1:5", "a number can't begin with a zero"),
        ("a = 9223372036854775808", "1:5", "\"9223372036854775808\" is outside the 64-bit integers"),
        ("a = 2026-02-30", "1:5", "\"2026-02-30\" is no date or time of RFC 3339"),
        ("a = \"\\q\"", "1:6", "a backslash can't be followed by \"q\""),
        ("[[a]]\n[a]", "2:1", "a is an array of tables"),
        ("a = 1\n[a.b]", "2:2", "a already has a value, at test.toml:1:5; nothing can be added to it"),
        ("€ = 1", "1:1", "expected a key, found \"€\""),
        ("a = 1 # \u{1}", "1:9", "a comment can't contain the control character U+0001"),
    ])
    func `says what is wrong and where`(_ text: String, _ place: String, _ message: String) throws {
        let error = try #require(throws: SyntaxError.self) { try read(text) }
        #expect("\(error.location.line):\(error.location.column)" == place)
        #expect(error.message == message)
    }

    @Test func `refuses nesting above its limit and takes the limit`() throws {
        func nested(_ depth: Int) -> String {
            "a = " + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(throws: Never.self) { try read(nested(TOMLReader.depthMax)) }
        let error = try #require(throws: SyntaxError.self) { try read(nested(TOMLReader.depthMax + 1)) }
        #expect(error.message == "values are nested more than 100 deep")
        #expect(throws: SyntaxError.self) { try read(nested(200_000)) }
    }

    @Test func `probe 8: a syntax error shows file, line, column, text and caret`() throws {
        let text = "format = 1\n\n\n\n\n\nlimits = { cpu = 30s }\n"
        let error = try #require(throws: SyntaxError.self) {
            try TOMLReader.read(SourceText(name: "wrangler-like.toml", text: text))
        }
        #expect(
            error.diagnostic.rendered == """
                wrangler-like.toml:7:18: error: "30s" is no number
                    7 | limits = { cpu = 30s }
                      |                  ^^^
                  fix: put text in quotes
                """)
    }

    @Test func `survives random damage to a document`() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let original = Array(
            """
            format = 1
            a.b."c d" = { x = [1, 2.5e3, 'l'], y = "\\u00e4\\n" }
            [[t]]
            s = \"\"\"
            x\\
              y\"\"\"
            d = 1979-05-27 07:32:00.5+01:00
            [t.u]
            """.utf8)
        for _ in 0..<4000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                default: bytes.insert(bytes[Int.random(in: 0..<bytes.count, using: &random)], at: index)
                }
            }
            let source = SourceText(name: "fuzz", bytes: bytes)
            do {
                _ = try TOMLReader.read(source)
            } catch {
                let end = error.location.byteOffset + error.location.byteCount
                #expect(end <= bytes.count, "seed \(seed): place outside the text")
                #expect(!error.diagnostic.rendered.isEmpty, "seed \(seed)")
            }
        }
    }
}

@Suite struct `Depth of a TOML text` {
    /// Whatever walks a document recurses on it.
    private func message(_ text: String) -> String? {
        do {
            _ = try TOMLReader.read(SourceText(name: "t", text: text))
            return nil
        } catch { return error.diagnostic.description }
    }
    private func key(_ count: Int) -> String { Array(repeating: "a", count: count).joined(separator: ".") }

    @Test func `a key has at most 100 parts, in headers and in front of values`() {
        for (before, after) in [("[", "]\n"), ("[[", "]]\n"), ("", " = 1\n")] {
            #expect(message("\(before)\(key(100))\(after)") == nil)
            for count in [101, 5000] {
                #expect(
                    message("\(before)\(key(count))\(after)")
                        == "t:1:\(201 + before.count - 1): error: a key has at most 100 parts")
            }
        }
    }

    @Test func `the parts of keys in inline tables count as the tables they make`() {
        func nested(_ levels: Int) -> String {
            (0..<levels).reduce("1") { inner, _ in "{ \(key(20)) = \(inner) }" }
        }
        #expect(message("x = \(nested(4))") == nil)
        #expect(message("x = \(nested(6))")?.hasSuffix("values are nested more than 100 deep") == true)
        #expect(message("x = \(nested(500))")?.hasSuffix("values are nested more than 100 deep") == true)
    }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
