import Interfaces
import StoresKV
import Testing

@testable import ControlPlane

@Suite struct `KV bulk body` {
    private static func read(_ text: String, inPiecesOf size: Int = 1 << 16) throws -> KVBulkReader {
        var reader = KVBulkReader()
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            try reader.feed(Array(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        try reader.finish()
        return reader
    }

    @Test(arguments: [1, 2, 3, 5, 64, 1 << 16])
    func `is read in whatever pieces it comes`(_ size: Int) throws {
        let reader = try Self.read(
            #"""
            [ {"key": "a", "value": "\u20ac1"},
              {"value": "AP8=", "unknown": {"base64": [1, "x"]}, "base64": true, "key": "b"},
              {"key":"c","value":"","expiration":1.9e3,"expiration_ttl":60,"metadata":{"n": [1.50, "\"é", null, true], "o":{}}},
              {"key":"d","value":"v","expiration":null,"expiration_ttl":null,"metadata":null,"base64":null},
              {"key":"e","value":"%","base64":true} ]
            """#, inPiecesOf: size)
        #expect(reader.writes.map { String(decoding: $0.key, as: UTF8.self) } == ["a", "b", "c", "d"])
        #expect(reader.writes.map { Array($0.value) } == [Array("€1".utf8), [0, 255], [], Array("v".utf8)])
        #expect(reader.writes.map(\.expiration) == [nil, nil, 1900, nil])
        #expect(reader.writes.map(\.expirationTtl) == [nil, nil, 60, nil])
        #expect(reader.writes.map(\.metadata) == [nil, nil, #"{"n":[1.50,"\"é",null,true],"o":{}}"#, nil])
        #expect(reader.refused.map(\.key) == [Array("e".utf8)])
    }

    @Test(arguments: [
        ("", "no JSON"), ("{}", "array"), ("[", "no JSON"), ("[1]", "pair 0 must be an object"),
        (#"[{"value":""}]"#, "has no key"),
        (#"[{"key":"a","value":""},{"key":"a"}]"#, "pair 1 has no value"), (#"[{"key":1,"value":""}]"#, "string as its key"),
        (#"[{"key":"a","value":{}}]"#, "string as its value"), (#"[{"key":"a","value":"","base64":1}]"#, "base64"),
        (#"[{"key":"a","value":"","expiration":"1"}]"#, "number as its expiration"), (#"[{"key":"a",}]"#, "no JSON"),
        (#"[{"key":"a","value":""}] x"#, "no JSON"),
    ])
    func `that is no bulk write is refused as a whole`(_ text: String, _ reason: String) {
        #expect {
            try Self.read(text)
        } throws: { error in
            (error as? KVBulkReader.Malformed)?.reason.contains(reason) ?? false
        }
    }

    @Test func `keeps nothing of a value that is too long but its length`() throws {
        var reader = KVBulkReader()
        try reader.feed(Array(#"[{"key":"a","value":""#.utf8))
        let piece = [UInt8](repeating: UInt8(ascii: "A"), count: 1 << 20)
        for _ in 0..<40 { try reader.feed(piece) }
        try reader.feed(Array(#""},{"key":"b","value":"ok"}]"#.utf8))
        try reader.finish()
        #expect(reader.writes[0].value.isEmpty && reader.writes[0].valueByteCount == 40 << 20)
        #expect(Array(reader.writes[1].value) == Array("ok".utf8))
    }

    @Test func `has at most 10,000 pairs`() throws {
        let pair = #"{"key":"a","value":""}"#
        func text(_ count: Int) -> String { "[" + repeatElement(pair, count: count).joined(separator: ",") + "]" }
        #expect(try Self.read(text(10_000)).writes.count == 10_000)
        #expect(throws: KVBulkReader.Malformed(reason: "You can write a maximum of 10000 keys", code: 10021)) {
            try Self.read(text(10_001))
        }
    }
}
