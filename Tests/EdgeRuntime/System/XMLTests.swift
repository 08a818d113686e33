import Testing
import XML

@Suite struct `XML documents` {
    private static func read(_ text: String) throws -> XMLElement { try XMLReader.read(Array(text.utf8)) }

    @Test func `are read into a tree`() throws {
        let root = try Self.read(
            """
            <?xml version="1.0"?><s3:Delete xmlns:s3="urn:x"><Object><Key>a &amp; b&#x20AC;</Key></Object>
            <!-- none --><Object><Key><![CDATA[<raw>]]></Key></Object><Quiet> true </Quiet></s3:Delete>
            """)
        #expect(root.name == "Delete")
        #expect(root.children("Object").map { $0.text(of: "Key") } == ["a & b€", "<raw>"])
        #expect(root.child("Quiet")?.trimmedText == "true")
        #expect(root.child("None") == nil)
    }

    @Test(arguments: ["", "text", "<a>", "<a></b>", "<a/><b/>", "<a>&none;</a>", "<a>\u{1}</a>", "<a b=\"1\" b=\"2\"/>"])
    func `that are not well formed are refused`(_ text: String) {
        #expect { try Self.read(text) } throws: { error in
            if case .malformed? = error as? XMLError { true } else { false }
        }
    }

    @Test(arguments: ["<a>\u{FFFD}</a>".utf8.map { $0 == 0xBD ? 0xFF : $0 }])
    func `that are no text are refused`(_ bytes: [UInt8]) {
        #expect(throws: XMLError.self) { try XMLReader.read(bytes) }
    }

    @Test(arguments: [
        "<!DOCTYPE a><a/>", "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>", "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
    ])
    func `have no document type`(_ text: String) {
        #expect(throws: XMLError.documentType) { try Self.read(text) }
    }

    @Test func `are bounded in depth and number`() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)).utf8)
        }
        _ = try XMLReader.read(nested(4), depthMax: 4)
        #expect(throws: XMLError.tooDeep(limit: 4)) { try XMLReader.read(nested(5), depthMax: 4) }
        func many(_ count: Int) -> [UInt8] { Array(("<a>" + String(repeating: "<b/>", count: count - 1) + "</a>").utf8) }
        _ = try XMLReader.read(many(10), elementsMax: 10)
        #expect(throws: XMLError.tooManyElements(limit: 10)) { try XMLReader.read(many(11), elementsMax: 10) }
    }
}
