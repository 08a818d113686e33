/// An element of a document that was read, with what stands in it.
package struct XMLElement: Sendable {
    /// Without its prefix.
    package let name: String
    /// All text directly in it, in one piece.
    package internal(set) var text = ""
    package internal(set) var children: [XMLElement] = []

    init(name: String) { self.name = name }

    /// The first child of that name.
    package func child(_ name: String) -> XMLElement? { children.first { $0.name == name } }

    package func children(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }

    /// The text of the first child of that name.
    package func text(of name: String) -> String? { child(name)?.text }

    /// Without the blanks around it.
    package var trimmedText: String {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        let bytes = text.utf8.drop(while: isBlank)
        let end = bytes.lastIndex { !isBlank($0) }.map { bytes.index(after: $0) } ?? bytes.startIndex
        return String(text[bytes.startIndex..<end])
    }
}
