/// A text that operations are applied to: always well-formed UTF-16, of bounded length.
package struct TextDocument: Equatable, Sendable {
    /// What a snapshot of 3 bytes a unit in one row of an object's database can hold (2 MB).
    package static let lengthMax = 500_000

    package enum Refusal: Error, Equatable, Sendable, CustomStringConvertible {
        case length(TextOperation.LengthMismatch)
        /// The operation begins or ends a change between the two halves of a surrogate pair.
        case splitsPair(at: Int)
        case tooLong(Int, limit: Int)

        package var description: String {
            switch self {
            case .length(let mismatch): mismatch.description
            case .splitsPair(let position): "unit \(position) is the second half of a surrogate pair"
            case .tooLong(let length, let limit): "the text would have \(length) units; its limit is \(limit)"
            }
        }
    }

    package private(set) var units: [UInt16]

    package init(_ text: String = "") { units = Array(text.utf16) }

    package var length: Int { units.count }
    package var text: String { String(decoding: units, as: UTF16.self) }

    /// Nothing has changed when it throws.
    package mutating func apply(_ operation: TextOperation, lengthMax: Int = Self.lengthMax) throws(Refusal) {
        guard operation.baseLength == units.count else {
            throw .length(.init(expected: units.count, found: operation.baseLength))
        }
        // A text that is too long already can be made shorter.
        guard operation.targetLength <= max(lengthMax, operation.baseLength) else {
            throw .tooLong(operation.targetLength, limit: lengthMax)
        }
        var result: [UInt16] = []
        result.reserveCapacity(operation.targetLength)
        var position = 0
        for component in operation.components {
            guard isBorder(position) else { throw .splitsPair(at: position) }
            switch component {
            case .retain(let count):
                result += units[position..<(position + count)]
                position += count
            case .insert(let inserted): result += inserted
            case .delete(let count): position += count
            }
        }
        units = result
    }

    /// Whether a place lies between two characters, not inside one.
    package func isBorder(_ position: Int) -> Bool {
        guard position > 0, position < units.count else { return true }
        return !(UTF16.isLeadSurrogate(units[position - 1]) && UTF16.isTrailSurrogate(units[position]))
    }
}
