import Testing

@testable import ControlPlane

@Suite struct `JSON as it was written` {
    private func text(_ slice: JSONSlice?) -> String? { slice.map { String(decoding: $0.compact, as: UTF8.self) } }

    @Test(arguments: [
        (#"{"body":1}"#, "1"), (#"{"body": 12345678901234567890.00 }"#, "12345678901234567890.00"),
        (#" { "a" : { "body" : 1 } , "body" : [ 1 , { "b" : 2 , "a" : "} ] , : " } ] } "#, #"[1,{"b":2,"a":"} ] , : "}]"#),
        (#"{"body":"\"\\"}"#, #""\"\\""#), (#"{"body":"a\" \"b" , "c":"d e"}"#, #""a\" \"b""#),
        (#"{"\u0062ody":null}"#, "null"), (#"{"bod":1,"bodyy":2,"body":true}"#, "true"), (#"{"body":{},"x":[]}"#, "{}"),
        (#"{"x":"body","body":-1e+5}"#, "-1e+5"), ("{\"body\":\n\t[\r]}", "[]"),
    ]) func `finds a member's value`(_ json: String, _ expected: String) {
        #expect(text(JSONSlice(Array(json.utf8))?.member("body")) == expected)
    }

    @Test(arguments: [#"{"other":1}"#, "[1]", "7", #""body""#, "{}", ""])
    func `finds nothing where nothing is`(_ json: String) {
        #expect(JSONSlice(Array(json.utf8))?.member("body") == nil)
    }

    @Test(
        arguments: [
            ("[]", []), ("[ ]", []), ("[1]", ["1"]),
            (#"[ "a,b" , [1,[2]] ,{"c":"]"}, null ]"#, [#""a,b""#, "[1,[2]]", #"{"c":"]"}"#, "null"]),
            ("{}", []), ("7", []),
        ] as [(String, [String])]) func `lists the elements of an array`(_ json: String, _ expected: [String])
    {
        #expect(JSONSlice(Array(json.utf8))?.items.map { text($0) } == expected)
    }
}
