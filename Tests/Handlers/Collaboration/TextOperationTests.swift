import Collaboration
import Foundation
import Testing

@Suite struct `Text operations` {
    private static let base = "0123456789"

    /// `retain`s around one change.
    private static func insertion(_ text: String, at place: Int) -> TextOperation {
        var operation = TextOperation()
        operation.retain(place)
        operation.insert(text)
        operation.retain(base.utf16.count - place)
        return operation
    }

    private static func deletion(_ range: Range<Int>) -> TextOperation {
        var operation = TextOperation()
        operation.retain(range.lowerBound)
        operation.delete(range.count)
        operation.retain(base.utf16.count - range.upperBound)
        return operation
    }

    private static func applied(_ operations: TextOperation..., to text: String = base) throws -> String {
        var document = TextDocument(text)
        for operation in operations { try document.apply(operation) }
        return document.text
    }

    struct Pair: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var earlier: TextOperation
        var later: TextOperation
        var result: String

        init(_ name: String, _ earlier: TextOperation, _ later: TextOperation, _ result: String) {
            testDescription = name
            self.earlier = earlier
            self.later = later
            self.result = result
        }
    }

    private static let pairs: [Pair] = [
        Pair("insert before insert", insertion("A", at: 2), insertion("B", at: 5), "01A234B56789"),
        Pair("insert behind insert", insertion("A", at: 5), insertion("B", at: 2), "01B234A56789"),
        Pair("insert at insert: the earlier to the left", insertion("AA", at: 4), insertion("B", at: 4), "0123AAB456789"),
        Pair("insert before delete", insertion("A", at: 1), deletion(4..<6), "0A1236789"),
        Pair("insert at the start of delete", insertion("A", at: 4), deletion(4..<6), "0123A6789"),
        Pair("insert inside delete", insertion("A", at: 5), deletion(4..<7), "0123A789"),
        Pair("insert at the end of delete", insertion("A", at: 6), deletion(4..<6), "0123A6789"),
        Pair("insert behind delete", insertion("A", at: 8), deletion(4..<6), "012367A89"),
        Pair("delete before insert", deletion(1..<3), insertion("B", at: 6), "0345B6789"),
        Pair("delete around insert", deletion(1..<9), insertion("B", at: 6), "0B9"),
        Pair("delete before delete", deletion(1..<3), deletion(5..<7), "034789"),
        Pair("delete touches delete", deletion(1..<3), deletion(3..<5), "056789"),
        Pair("delete overlaps delete", deletion(1..<5), deletion(3..<8), "089"),
        Pair("delete contains delete", deletion(1..<9), deletion(3..<5), "09"),
        Pair("delete equals delete", deletion(2..<4), deletion(2..<4), "01456789"),
        Pair("delete all against delete all", deletion(0..<10), deletion(0..<10), ""),
        Pair("delete all against insert", deletion(0..<10), insertion("B", at: 10), "B"),
        Pair("retain against insert", TextOperation(identity: 10), insertion("B", at: 0), "B0123456789"),
        Pair("retain against delete", TextOperation(identity: 10), deletion(0..<1), "123456789"),
        Pair("retain against retain", TextOperation(identity: 10), TextOperation(identity: 10), "0123456789"),
    ]

    @Test(arguments: pairs) func `transform as TP1 asks, for each pair of kinds`(_ pair: Pair) throws {
        for (earlier, later, result) in [(pair.earlier, pair.later, pair.result)] {
            let transformed = try TextOperation.transform(earlier, later)
            #expect(try Self.applied(earlier, transformed.later) == result)
            #expect(try Self.applied(later, transformed.earlier) == result)
        }
        // The other way round they meet as well, though maybe elsewhere.
        let turned = try TextOperation.transform(pair.later, pair.earlier)
        #expect(try Self.applied(pair.later, turned.later) == Self.applied(pair.earlier, turned.earlier))
    }

    @Test(arguments: 0..<40) func `meet, compose and stay well-formed at random`(_ seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        for round in 0..<100 {
            let text = random.text(30)
            var document = TextDocument(text)
            let first = random.operation(for: document)
            let second = random.operation(for: document)
            let transformed = try TextOperation.transform(first, second)
            let oneWay = try Self.applied(first, transformed.later, to: text)
            let otherWay = try Self.applied(second, transformed.earlier, to: text)
            #expect(oneWay.utf16.elementsEqual(otherWay.utf16), "seed \(seed), round \(round)")
            #expect(!oneWay.unicodeScalars.contains("\u{FFFD}"), "seed \(seed), round \(round)")

            try document.apply(first)
            let next = random.operation(for: document)
            let composed = try first.composed(with: next)
            #expect(try Self.applied(composed, to: text).utf16.elementsEqual(Self.applied(first, next, to: text).utf16))
            // Transforming what is composed is composing what is transformed.
            let other = random.operation(for: TextDocument(text))
            let stepwise = try TextOperation.transform(
                next, TextOperation.transform(first, other).later)
            let atOnce = try TextOperation.transform(composed, other)
            #expect(
                try Self.applied(composed, atOnce.later, to: text).utf16.elementsEqual(
                    Self.applied(other, atOnce.earlier, to: text).utf16))
            #expect(stepwise.later.baseLength == atOnce.later.baseLength)
        }
    }

    @Test func `compose by halves what they compose one by one`() throws {
        var random = SeededGenerator(seed: 9)
        var document = TextDocument("begin")
        var operations: [TextOperation] = []
        for _ in 0..<33 {
            let operation = random.operation(for: document)
            try document.apply(operation)
            operations.append(operation)
        }
        let whole = try #require(try TextOperation.composed(operations))
        #expect(try Self.applied(whole, to: "begin") == document.text)
        #expect(try TextOperation.composed([]) == nil)
    }

    @Test func `have one form for equal changes`() {
        var left = TextOperation()
        left.retain(1)
        left.delete(2)
        left.insert("a")
        left.delete(1)
        left.insert("b")
        left.retain(0)
        left.insert("")
        left.retain(2)
        left.retain(1)
        #expect(left.components == [.retain(1), .insert(Array("ab".utf16)), .delete(3), .retain(3)])
        #expect(left.baseLength == 7 && left.targetLength == 6)
    }

    @Test func `are refused by a text of another length, or where they split a pair`() throws {
        var document = TextDocument("a😀b")
        let long = TextOperation(identity: 5)
        #expect(throws: TextDocument.Refusal.length(.init(expected: 4, found: 5))) { try document.apply(long) }
        for (build, place) in [
            ({ (operation: inout TextOperation) in operation.insert("x") }, 2),
            ({ (operation: inout TextOperation) in operation.delete(1) }, 2),
        ] {
            var operation = TextOperation()
            operation.retain(place)
            build(&operation)
            operation.retain(4 - operation.baseLength)
            #expect(throws: TextDocument.Refusal.splitsPair(at: 2)) { try document.apply(operation) }
        }
        var half = TextOperation()
        half.retain(1)
        half.delete(1)
        half.retain(2)
        #expect(throws: TextDocument.Refusal.splitsPair(at: 2)) { try document.apply(half) }
        #expect(document.text == "a😀b")
    }

    @Test func `can shorten a text that is too long, and not lengthen one`() throws {
        var document = TextDocument("12345")
        var longer = TextOperation(identity: 5)
        longer.insert("6")
        #expect(throws: TextDocument.Refusal.tooLong(6, limit: 3)) { try document.apply(longer, lengthMax: 3) }
        var shorter = TextOperation()
        shorter.delete(1)
        shorter.retain(4)
        try document.apply(shorter, lengthMax: 3)
        #expect(document.text == "2345")
    }

    @Test func `are arrays of numbers and texts in JSON`() throws {
        func read(_ json: String) throws -> TextOperation {
            try JSONDecoder().decode(TextOperation.self, from: Data(json.utf8))
        }
        let operation = try read(#"[5,"new 😀",-3,10]"#)
        #expect(operation.baseLength == 18 && operation.targetLength == 21)
        #expect(String(decoding: try JSONEncoder().encode(operation), as: UTF8.self) == #"[5,"new 😀",-3,10]"#)
        for bad in [
            "[0]", #"[""]"#, "[1.5]", "[true]", "[null]", "[[1]]", "{}", "[9223372036854775807]", "[-9223372036854775808]",
            "[1e30]", #"["\ud83d"]"#, #"["\ude00x"]"#,
        ] {
            #expect(throws: (any Error).self, "\(bad)") { try read(bad) }
        }
        let many = "[" + Array(repeating: "1,-1", count: 10_001).joined(separator: ",") + "]"
        #expect(throws: (any Error).self) { try read(many) }
    }

    @Test func `move cursors`() {
        let insertion = Self.insertion("abc", at: 4)
        #expect(insertion.moved(3) == 3 && insertion.moved(4) == 4 && insertion.moved(5) == 8)
        #expect(insertion.moved(4, isAuthors: true) == 7)
        let deletion = Self.deletion(4..<7)
        #expect([3, 4, 5, 7, 8].map { deletion.moved($0) } == [3, 4, 4, 4, 5])
        #expect([3, 4, 5, 7, 8].map { deletion.moved($0, isAuthors: true) } == [3, 4, 4, 4, 5])
        #expect(Self.insertion("x", at: 10).moved(10) == 10)
        #expect(Self.insertion("x", at: 10).moved(10, isAuthors: true) == 11)
    }
}
