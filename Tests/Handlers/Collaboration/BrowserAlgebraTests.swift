import Collaboration
import Testing

@Suite struct `The browser's algebra` {
    private static func json(_ value: some Encodable) throws -> String { try BrowserPeers.json(value) }

    @Test func `does what the room's does`() throws {
        let browser = try BrowserPeers()
        func ask(_ name: String, _ arguments: String) throws -> JSONValue {
            try #require(try browser.ask(#"{"do":"\#(name)",\#(arguments)}"#).result)
        }
        func value(_ operation: TextOperation) -> JSONValue {
            .array(
                operation.components.map { component in
                    switch component {
                    case .retain(let count): .integer(Int64(count))
                    case .insert(let units): .string(String(decoding: units, as: UTF16.self))
                    case .delete(let count): .integer(Int64(-count))
                    }
                })
        }
        for seed in 0..<200 {
            var random = SeededGenerator(seed: UInt64(seed))
            // Digits and signs look like numbers to JavaScript.
            let text = random.text(20) + ["", "5", "-1"][random.below(3)]
            let first = random.operation(for: TextDocument(text))
            let second = random.operation(for: TextDocument(text))
            var document = TextDocument(text)
            try document.apply(first)
            let next = random.operation(for: document)
            let both = #""first":\#(try Self.json(first)),"second":\#(try Self.json(second))"#
            let transformed = try TextOperation.transform(first, second)
            #expect(
                try ask("transform", both) == .array([value(transformed.earlier), value(transformed.later)]), "seed \(seed)")
            let following = #""first":\#(try Self.json(first)),"second":\#(try Self.json(next))"#
            #expect(try ask("compose", following) == value(try first.composed(with: next)), "seed \(seed)")
            let change = #""text":\#(try Self.json(text)),"operation":\#(try Self.json(first))"#
            #expect(try ask("apply", change) == .string(document.text), "seed \(seed)")
            let back = try Self.json(try ask("inverse", change))
            #expect(
                try ask("apply", #""text":\#(try Self.json(document.text)),"operation":\#(back)"#) == .string(text),
                "seed \(seed)")
            let position = random.below(text.utf16.count + 1)
            for isAuthors in [false, true] {
                let place = #""position":\#(position),"operation":\#(try Self.json(first)),"isAuthors":\#(isAuthors)"#
                #expect(try ask("moved", place) == .integer(Int64(first.moved(position, isAuthors: isAuthors))), "seed \(seed)")
            }
        }
    }

    @Test func `finds what leads from one text to another, and cuts long insertions`() throws {
        let browser = try BrowserPeers()
        func operation(_ name: String, _ arguments: String) throws -> JSONValue {
            try #require(try browser.ask(#"{"do":"\#(name)",\#(arguments)}"#).result)
        }
        for seed in 0..<100 {
            var random = SeededGenerator(seed: UInt64(seed))
            let before = random.text(40)
            var document = TextDocument(before)
            try document.apply(random.operation(for: document))
            let texts = #""before":\#(try Self.json(before)),"after":\#(try Self.json(document.text))"#
            for limit in [1, 500] {
                let found = try Self.json(try operation("difference", texts + #","limit":\#(limit)"#))
                #expect(
                    try operation("apply", #""text":\#(try Self.json(before)),"operation":\#(found)"#)
                        == .string(document.text),
                    "seed \(seed)")
            }
            let long = random.operation(for: document)
            let parts = try browser.ask(#"{"do":"split","operation":\#(try Self.json(long)),"limit":3}"#).result
            guard case .array(let halves)? = parts else { continue }
            let composed = try operation(
                "compose", #""first":\#(try Self.json(halves[0])),"second":\#(try Self.json(halves[1]))"#)
            var whole = document
            try whole.apply(long)
            #expect(
                try operation(
                    "apply", #""text":\#(try Self.json(document.text)),"operation":\#(try Self.json(composed))"#)
                    == .string(whole.text), "seed \(seed)")
        }
    }
}
