import Testing

@testable import Host

@Suite struct `Version overrides` {
    private static let id = "db7cd8d3-4425-4fe7-8c81-01bf963b6067"

    private func parse(_ text: String) -> [String] { VersionOverrides.parse(text).map { "\($0.worker)=\($0.version)" } }

    @Test func `names workers with the ids of versions`() {
        #expect(parse("a=\"\(Self.id)\"") == ["a=\(Self.id)"])
        #expect(parse("  a=\"\(Self.id)\" ,\t9-B_c=\"x\"  ") == ["a=\(Self.id)", "9-B_c=x"])
        // Of two with one name the last one counts, and ids have no case.
        #expect(parse("a=\"x\", a=\"\(Self.id.uppercased())\"") == ["a=\(Self.id)"])
        // What stands behind a value belongs to a later version of the header.
        #expect(parse("a=\"x\";q=1;w=\"y, z\", b=\"y\"") == ["a=x", "b=y"])
    }

    @Test(arguments: [
        "", " ", "a", "a=", "a=x", "a=\"x", "=\"x\"", "a=\"x\",", ",a=\"x\"", "a=\"x\" b=\"y\"", "a=\"\\n\"", "a=\"\u{7F}\"",
    ])
    func `says nothing when it is malformed`(text: String) { #expect(parse(text).isEmpty) }

    @Test func `has an end`() {
        let text = (0..<1000).map { "w\($0)=\"x\"" }.joined(separator: ",")
        #expect(parse(text).count == 64)
    }
}
