import Configuration
import Testing

@Suite struct `JSON reader with comments` {
    private func read(_ text: String) throws -> DocumentValue {
        try JSONReader.read(SourceText(name: "wrangler.jsonc", text: text))
    }

    @Test func `takes comments and trailing commas and keeps places`() throws {
        let value = try read(
            """
            // head
            { "a": [1, -2.5e1, /* in */ "\\u00e4\\ud83d\\ude00\\n",], // behind
              "b": {"c": null, "d": true,}, }
            """)
        #expect(value.json == #"{"a":[1,-25.0,"ä😀\n"],"b":{"c":null,"d":true}}"#)
        let b = try #require(value.table?.entry("b"))
        #expect(b.keyLocation.description == "wrangler.jsonc:3:3")
        #expect(b.value.location.description == "wrangler.jsonc:3:8")
        #expect(b.value.location.length == 23)
    }

    @Test(arguments: [
        ("", "1:1"), ("{", "1:1"), ("{\"a\" 1}", "1:6"), ("{a:1}", "1:2"), ("[1 2]", "1:4"), ("[01]", "1:2"),
        ("[1.]", "1:2"), ("[+1]", "1:2"), ("[.5]", "1:2"), ("{\"a\":1,\n\"a\":2}", "2:1"),
        ("[\"\\ud800\"]", "1:3"),
        ("[\"\\x\"]", "1:3"), ("[\"a\nb\"]", "1:2"), ("/* x", "1:1"), ("{} {}", "1:4"), ("[,]", "1:2"),
        ("[nul]", "1:2"),
        ("[1e400]", "1:2"), ("'a'", "1:1"),
    ])
    func `refuses what is no JSON`(_ text: String, _ place: String) throws {
        let error = try #require(throws: SyntaxError.self) { try read(text) }
        #expect("\(error.location.line):\(error.location.column)" == place, "\(error.message)")
    }
}
