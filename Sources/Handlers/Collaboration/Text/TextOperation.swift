/// One change of a text, from its first unit to its last: some units stay, some are inserted, some are deleted.
///
/// Positions and lengths count UTF-16 code units, because the other side is JavaScript: `String.length`, `slice` and the
/// selection of a text field count so, and no client has to convert. What UTF-16 could break can't happen here: insertions are
/// well-formed, and `TextDocument` refuses an operation that begins or ends inside a surrogate pair. Transforming and composing keep
/// that, as the borders that they produce are borders of what they were given.
///
/// An operation says the length that it is made for, so a mistake of a revision shows at once. Equal changes have equal
/// components: neighbours of one kind are one, none is empty, and an insertion stands before a deletion at the same place.
package struct TextOperation: Equatable, Sendable {
    package enum Component: Equatable, Sendable {
        case retain(Int)
        case insert([UInt16])
        case delete(Int)
    }

    package private(set) var components: [Component] = []
    /// The length of texts that it can be applied to.
    package private(set) var baseLength = 0
    /// Their length afterwards.
    package private(set) var targetLength = 0

    package init() {}

    /// The change that changes nothing.
    package init(identity length: Int) { retain(length) }

    package var isIdentity: Bool {
        components.allSatisfy { component in
            switch component {
            case .retain: true
            case .insert, .delete: false
            }
        }
    }

    package mutating func retain(_ count: Int) {
        guard count > 0 else { return }
        baseLength += count
        targetLength += count
        if case .retain(let before)? = components.last {
            components[components.count - 1] = .retain(before + count)
        } else {
            components.append(.retain(count))
        }
    }

    package mutating func insert(_ text: String) { insert(Array(text.utf16)) }

    /// - Parameter units: Well-formed UTF-16.
    package mutating func insert(_ units: some Collection<UInt16>) {
        guard !units.isEmpty else { return }
        targetLength += units.count
        switch components.last {
        case .insert: extend(at: components.count - 1, with: units)
        case .delete:
            let place = components.count - 1
            if place > 0, case .insert = components[place - 1] {
                extend(at: place - 1, with: units)
            } else {
                components.insert(.insert(Array(units)), at: place)
            }
        case .retain, nil: components.append(.insert(Array(units)))
        }
    }

    private mutating func extend(at place: Int, with units: some Collection<UInt16>) {
        guard case .insert(var before) = components[place] else { return }
        // Nobody else holds the array then, and it grows where it is.
        components[place] = .retain(0)
        before += units
        components[place] = .insert(before)
    }

    package mutating func delete(_ count: Int) {
        guard count > 0 else { return }
        baseLength += count
        if case .delete(let before)? = components.last {
            components[components.count - 1] = .delete(before + count)
        } else {
            components.append(.delete(count))
        }
    }
}

/// Reads an operation's components from the left, in pieces.
struct ComponentReader {
    enum Piece {
        case retain(Int)
        case insert(ArraySlice<UInt16>)
        case delete(Int)

        init(_ component: TextOperation.Component) {
            switch component {
            case .retain(let count): self = .retain(count)
            case .insert(let units): self = .insert(units[...])
            case .delete(let count): self = .delete(count)
            }
        }
    }

    private let components: [TextOperation.Component]
    private var index = 0
    private(set) var current: Piece?

    init(_ operation: TextOperation) {
        components = operation.components
        current = components.first.map(Piece.init)
    }

    mutating func advance() {
        index += 1
        current = index < components.count ? Piece(components[index]) : nil
    }

    /// Takes `count` units of the current component; what is left of it is the current one then.
    mutating func take(_ count: Int) {
        switch current {
        case .retain(let length) where length > count: current = .retain(length - count)
        case .delete(let length) where length > count: current = .delete(length - count)
        case .insert(let units) where units.count > count: current = .insert(units.dropFirst(count))
        default: advance()
        }
    }
}
