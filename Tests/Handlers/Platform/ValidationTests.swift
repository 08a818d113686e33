import Platform
import Testing

@Suite struct `Field validation` {
    @Test(arguments: [
        ("a@b.co", "a@b.co"), ("  Jane.Doe+tag@Example.COM ", "jane.doe+tag@example.com"),
        ("o'hara@sub.domain.example", "o'hara@sub.domain.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
    ]) func `takes an e-mail address and lowers it`(text: String, expected: String) {
        #expect(EmailAddress(text)?.text == expected)
    }

    @Test(arguments: [
        "", "a", "@", "a@", "@b.co", "a@b", "a@b.c", "a@b..co", "a@.b.co", "a@b.co.", "a@-b.co", "a@b-.co",
        "a@b.123",
        "a b@c.co", "a@b c.co", "a@b@c.co", ".a@b.co", "a.@b.co", "a..b@c.co", "\"a\"@b.co", "a@[127.0.0.1]",
        "ü@b.co", "a@bü.co", "a\n@b.co", "a@b.co\u{0}", "<a@b.co>", "a@b_c.co",
    ]) func `refuses as an e-mail address`(text: String) {
        #expect(EmailAddress(text) == nil)
    }

    @Test func `refuses overlong e-mail addresses`() {
        #expect(EmailAddress(String(repeating: "a", count: 64) + "@b.co") != nil)
        #expect(EmailAddress(String(repeating: "a", count: 65) + "@b.co") == nil)
        let domain = Array(repeating: String(repeating: "b", count: 60), count: 4).joined(separator: ".")
        #expect(EmailAddress("a@" + domain + ".example.org") == nil)
    }

    @Test func `names every wrong field once`() {
        var validation = Validation()
        _ = validation.email("email", "x")
        _ = validation.username("username", nil)
        _ = validation.password("password", "short")
        validation.refuse("email", "a second message")
        let error = #expect(throws: APIError.self) { try validation.finish() }
        #expect(error?.status == 422)
        #expect(error?.code == "validation_failed")
        #expect(
            error?.fields == [
                "email": "is not an e-mail address", "username": "is required",
                "password": "has fewer than 8 characters",
            ])
    }

    @Test(arguments: ["abc", "a-b", "User_1.x", "000", String(repeating: "a", count: 32)])
    func `takes a username`(name: String) throws {
        var validation = Validation()
        let taken = validation.username("username", name)
        #expect(taken == name)
        try validation.finish()
    }

    @Test(arguments: ["", "ab", "-ab", ".ab", "a b", "äbc", "a@b", String(repeating: "a", count: 33)])
    func `refuses as a username`(name: String) {
        var validation = Validation()
        let refused = validation.username("username", name)
        #expect(refused == nil)
        #expect(validation.fields["username"] != nil)
    }

    @Test func `counts passwords as bcrypt does`() {
        for (password, isTaken) in [
            ("12345678", true), ("1234567", false), (String(repeating: "x", count: 72), true),
            (String(repeating: "x", count: 73), false), (String(repeating: "é", count: 36), true),
            (String(repeating: "é", count: 37), false), ("1234\u{0}5678", false), ("        ", true),
        ] {
            var validation = Validation()
            let taken = validation.password("password", password)
            #expect((taken != nil) == isTaken, "\(password.utf8.count) bytes")
        }
    }

    @Test func `trims texts and refuses control characters`() {
        var validation = Validation()
        let cases: [(field: String, text: String, counts: ClosedRange<Int>, form: Validation.TextForm, expected: String?)] = [
            ("a", "  hello \n", 1...5, .line, "hello"), ("b", "one\ntwo", 1...10, .line, nil),
            ("c", " one\n\ttwo ", 1...10, .body, " one\n\ttwo "), ("d", "   ", 1...10, .line, nil),
            ("e", "toolong", 1...6, .line, nil), ("f", "x\u{85}y", 1...6, .body, nil),
            ("g", String(repeating: "x", count: 1_000_000), 1...6, .line, nil),
            ("h", "", 0...6, .line, ""),
            ("i", "👩‍👩‍👧‍👦", 1...6, .line, nil), ("j", "👩‍👩‍👧‍👦", 1...7, .line, "👩‍👩‍👧‍👦"),
        ]
        for item in cases {
            let text = validation.text(item.field, item.text, counts: item.counts, as: item.form)
            #expect(text == item.expected, "\(item.field)")
        }
        #expect(Set(validation.fields.keys) == ["b", "d", "e", "f", "g", "i"])
    }

    @Test func `takes numbers of a range alone`() {
        var validation = Validation()
        let fallback = validation.number("a", nil, in: 1...100, default: 20)
        #expect(fallback == 20)
        let greatest = validation.number("b", "100", in: 1...100, default: 20)
        #expect(greatest == 100)
        for text in ["0", "101", "-1", "1.5", "x", "", "99999999999999999999"] {
            var validation = Validation()
            _ = validation.number("n", text, in: 1...100, default: 20)
            #expect(validation.fields["n"] != nil, "\(text)")
        }
        #expect(validation.fields.isEmpty)
    }
}

@Suite struct `A JSON body` {
    private struct Input: Decodable {
        var name: String?
        var count: Int?
        var note: PatchField<String>
    }

    private func decode(_ text: String) throws(APIError) -> Input {
        try decodingJSON(Input.self, from: Array(text.utf8))
    }

    @Test func `tells members that are left out from null`() throws {
        if case .keep = try decode("{}").note {} else { Issue.record("left out is keep") }
        if case .clear = try decode(#"{"note":null}"#).note {} else { Issue.record("null is clear") }
        #expect(try decode(#"{"note":"x"}"#).note.value == "x")
    }

    @Test func `names the field of another type`() {
        for (text, field) in [
            (#"{"name":1}"#, "name"), (#"{"count":"1"}"#, "count"), (#"{"note":{}}"#, "note"),
        ] {
            let error = #expect(throws: APIError.self) { try decode(text) }
            #expect(
                error?.status == 422 && error?.fields?[field] != nil, "\(text) \(String(describing: error))")
        }
    }

    @Test(arguments: ["", "{", "[]", "null", "\"x\"", "{\"name\":\"x\"", "{name:1}", "\u{0}"])
    func `refuses what is no JSON object`(text: String) {
        let error = #expect(throws: APIError.self) { try decode(text) }
        #expect(error?.status == 400 && error?.code == "invalid_json")
    }
}
