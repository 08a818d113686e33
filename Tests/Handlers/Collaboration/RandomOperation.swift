import Collaboration

extension SeededGenerator {
    private static let alphabet = ["a", "b", "c", " ", "\n", "é", "漢", "😀", "👩‍👩‍👧", "\u{0}", "\"", "e\u{301}"]

    mutating func text(_ countMax: Int) -> String {
        (0..<(1 + below(countMax))).map { _ in Self.alphabet[below(Self.alphabet.count)] }.joined()
    }

    /// A place between two scalars.
    mutating func place(in document: TextDocument, from start: Int = 0) -> Int {
        var place = start + below(document.length - start + 1)
        if !document.isBorder(place) { place += 1 }
        return place
    }

    /// Any well-formed operation, of some components.
    mutating func operation(for document: TextDocument, insertsOnly: Bool = false) -> TextOperation {
        var operation = TextOperation()
        var position = 0
        for _ in 0..<(1 + below(4)) {
            let next = place(in: document, from: position)
            operation.retain(next - position)
            position = next
            if insertsOnly || chance(60) { operation.insert(text(4)) }
            if !insertsOnly, chance(50) {
                let end = place(in: document, from: position)
                operation.delete(end - position)
                position = end
            }
        }
        operation.retain(document.length - position)
        return operation
    }
}
