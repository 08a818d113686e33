import Platform
import Testing
import WorkersCrypto

@Suite struct `A page cursor` {
    private let id = Identifier(now: 1_800_000_000_000).text

    @Test func `comes back as it was`() throws {
        let cursor = PageCursor(time: 1_800_000_000_123, id: id)
        let text = cursor.text(listing: "content/mine/u1")
        #expect(try PageCursor(text, listing: "content/mine/u1") == cursor)
        #expect(
            text.utf8.allSatisfy {
                ("a"..."z").contains(Character(Unicode.Scalar($0)))
                    || "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".utf8.contains($0)
            })
    }

    @Test func `is refused in another list`() {
        let text = PageCursor(time: 1, id: id).text(listing: "content/mine/u1")
        let error = #expect(throws: APIError.self) { try PageCursor(text, listing: "content/mine/u2") }
        #expect(error?.status == 400 && error?.code == "invalid_cursor")
    }

    @Test func `is refused when it is cut, padded or made up`() {
        let text = PageCursor(time: 1, id: id).text(listing: "l")
        for broken in [
            "", "x", "AAAA", text + "A", text + "=", String(text.dropLast()), String(text.dropFirst()),
            text + String(repeating: "A", count: 1000), Base64URL.encode([UInt8](repeating: 1, count: 53)),
        ] {
            #expect(throws: APIError.self, "\(broken)") { try PageCursor(broken, listing: "l") }
        }
    }

    @Test func `never crashes on any bytes`() {
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            #expect(throws: APIError.self) { try PageCursor(Base64URL.encode(bytes), listing: "l") }
        }
    }
}

@Suite struct `An identifier` {
    @Test func `is a UUID of version 7 that sorts by time`() {
        let first = Identifier(now: 1_800_000_000_000, random: Array(repeating: 0xFF, count: 10))
        let second = Identifier(now: 1_800_000_000_001, random: Array(repeating: 0, count: 10))
        #expect(first.text == "01a3185c-5000-7fff-bfff-ffffffffffff")
        #expect(first.text < second.text)
        #expect(Identifier(first.text) == first)
        #expect(Identifier(first.text.uppercased()) == first)
    }

    @Test(arguments: [
        "", "x", "01a3185c-5000-7fff-bfff-fffffffffff", "01a3185c-5000-7fff-bfff-fffffffffffg",
        "01a3185c5000-7fff-bfff-ffffffffffff-", "../../../../../../../etc/passwd12345",
    ])
    func `refuses other texts`(text: String) {
        #expect(Identifier(text) == nil)
    }
}

@Suite struct `A timestamp` {
    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00.000Z"), (1_795_260_861_005, "2026-11-21T11:34:21.005Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
        (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
    ]) func `is ISO 8601 in UTC`(milliseconds: Int64, text: String) {
        #expect(Timestamp.text(milliseconds) == text)
        #expect(Timestamp.day(of: milliseconds) == String(text.prefix(10)))
    }
}

@Suite struct `A domain event` {
    @Test func `goes through JSON and keeps its identity`() throws {
        let event = DomainEvent(
            .contentCreated, at: 1_800_000_000_000, actor: "u", subject: "s", data: ["status": "draft"],
            requestID: "r")
        let text = try JSONText.of(event)
        #expect(try decodingJSON(DomainEvent.self, from: Array(text.utf8)) == event)
        #expect(event.flaw == nil)
        #expect(event.schema == 1 && event.type == "content.created")
    }

    @Test func `of another schema or without identity is refused`() {
        let event = DomainEvent(.contentCreated, at: 1, actor: nil, subject: "s")
        for change: (inout DomainEvent) -> Void in [
            { $0.schema = 2 }, { $0.id = "x" }, { $0.type = "" }, { $0.occurredAt = 0 },
            { $0.type = String(repeating: "x", count: 65) },
        ] {
            var changed = event
            change(&changed)
            #expect(changed.flaw != nil)
        }
        var unknown = event
        unknown.type = "campaign.begun"
        #expect(unknown.flaw == nil)
    }
}
