import Interfaces
import Testing

@testable import ControlPlane

@Suite struct `D1 query bodies` {
    private func statements(_ text: String) throws(APIError) -> [D1Request.Statement] {
        try D1QueryBody(Array(text.utf8)).statements
    }

    @Test(
        arguments: [
            (#"{"sql":"SELECT 1"}"#, []), (#"{"params":null,"sql":"S"}"#, []), (#"{ "sql" : "S" , "params" : [ ] }"#, []),
            (
                #"{"sql":"S","params":[null,true,false,0,-1.5e2,1e999,"","é\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"]}"#,
                [.null, .real(1), .real(0), .real(0), .real(-150), .null, .text(""), .text("éé😀\"\\/\u{8}\u{c}\n\r\t")]
            ),
            (
                #"{"sql":"S","params":["\ud83dx","\ude00","\ud83d\ud83d\ude00"]}"#,
                [.text("\u{FFFD}x"), .text("\u{FFFD}"), .text("\u{FFFD}😀")]
            ),
            (#"{"sql":"S","params":[[],[0],[ 1 , 20,255 ]]}"#, [.blob([]), .blob([0]), .blob([1, 20, 255])]),
            (#"{"x":{"sql":[{}, "]", -1, true]},"sql":"S","params":[1],"y":[[]]}"#, [.real(1)]),
        ] as [(String, [D1Value])])
    func `give statements with their values`(_ text: String, _ values: [D1Value]) throws {
        #expect(try statements(text).map(\.parameters) == [values])
    }

    @Test func `of several members with one name the last counts, and a batch keeps its order`() throws {
        #expect(try statements(#"{"sql":"a","sql":"b"}"#).map(\.sql) == ["b"])
        let batch = try statements(#"{"batch":[{"sql":"a","params":[1]},{"z":0,"sql":"b"}]}"#)
        #expect(batch == [.init(sql: "a", parameters: [.real(1)]), .init(sql: "b")])
        #expect(try statements(#"{"batch":[]}"#).isEmpty)
    }

    @Test(
        arguments: [
            ("", nil), ("{", nil), (#"{"sql":"a"}x"#, nil), (#"{"sql":'a'}"#, nil),
            (String(repeating: "[", count: 100_000), nil),
            ("1", ""), ("[]", ""), (#""sql""#, ""), ("{}", "/sql"), (#"{"sql":null}"#, "/sql"),
            (#"{"sql":"a","batch":[]}"#, ""),
            (#"{"sql":"a","params":"b"}"#, "/params"), (#"{"sql":"a","params":[0,{}]}"#, "/params/1"),
            (#"{"sql":"a","params":[[256]]}"#, "/params/0"), (#"{"sql":"a","params":[[-1]]}"#, "/params/0"),
            (#"{"sql":"a","params":[[1.0]]}"#, "/params/0"), (#"{"sql":"a","params":[[[1]]]}"#, "/params/0"),
            (#"{"sql":"a","params":[[null]]}"#, "/params/0"), (#"{"batch":{}}"#, "/batch"), (#"{"batch":[1]}"#, "/batch/0"),
            (#"{"batch":[{"sql":"a"},{"params":[]}]}"#, "/batch/1/sql"), (#"{"batch":[{"sql":1}]}"#, "/batch/0/sql"),
            (#"{"batch":[{"sql":"a","params":[[0,"1"]]}]}"#, "/batch/0/params/0"),
        ] as [(String, String?)])
    func `are refused with the place that is wrong`(_ text: String, _ pointer: String?) {
        let failure = #expect(throws: APIError.self) { try statements(text) }
        #expect(failure?.status == 400 && failure?.code == 7400 && failure?.pointer == pointer)
    }

    @Test func `hold no more than may be in them`() throws {
        let many = (0...10_000).map { _ in #"{"sql":"a"}"# }.joined(separator: ",")
        #expect(throws: APIError.self) { try statements(#"{"batch":[\#(many)]}"#) }
        let values = (0..<1000).map(String.init).joined(separator: ",")
        #expect(try statements(#"{"sql":"a","params":[\#(values)]}"#).first?.parameters.count == 101)
    }

    /// Whatever bytes come: statements or a refusal.
    @Test func `never break`() {
        var generator = Generator(state: 0x9e37_79b9)
        let seeds = [
            #"{"sql":"S\u00e9\ud83d\ude00","params":[null,true,1e5,"x",[1,2,255]],"z":{"a":[{}]}}"#,
            #"{"batch":[{"sql":"a","params":[]},{"sql":"b"}]}"#,
        ]
        for round in 0..<20_000 {
            var bytes = Array(seeds[round % 2].utf8)
            for _ in 0...(round % 4) {
                let place = Int(generator.next() % UInt64(bytes.count))
                switch generator.next() % 3 {
                case 0: bytes[place] = Array(#"{}[],:"\u019ntf-e. "#.utf8)[Int(generator.next() % 18)]
                case 1: bytes.remove(at: place)
                default: bytes.insert(bytes[Int(generator.next() % UInt64(bytes.count))], at: place)
                }
            }
            _ = try? D1QueryBody(bytes)
        }
    }

    private struct Generator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
    }
}

@Suite struct `Timestamps` {
    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("1970-01-01t00:00:01z", 1000), ("1970-01-01T00:00:00.5Z", 500),
            ("1970-01-01T00:00:00.123999Z", 123), ("1970-01-01T01:30:00+01:30", 0), ("1969-12-31T23:00:00.001-01:00", 1),
            ("2026-11-21T20:00:00.000000+00:00", 1_795_291_200_000),
        ] as [(String, Int64)])
    func `are read as RFC 3339 writes them`(_ text: String, _ milliseconds: Int64) {
        #expect(Timestamp(text)?.time.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "yesterday", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z", "1970-13-01T00:00:00Z",
        "1970-01-01T00:00:00+1:00", "1970-01-01T00:00:00+24:00", "1970-01-01T00:00:00+00:60", "1970-01-01T00:00:00Zx",
        "1970-01-01 00:00:00Z", "1970-01-01T00:00:00*01:00",
    ])
    func `are nothing else`(_ text: String) {
        #expect(Timestamp(text) == nil)
    }
}
