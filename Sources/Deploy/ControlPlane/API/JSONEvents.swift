/// Cuts the bytes of one JSON text (RFC 8259) into events while they arrive. Sans I/O: bytes go in with `feed`, events come
/// out of `next`. Of a text it holds what was fed last and one name, number or escape that isn't complete; a long string
/// comes out in pieces.
///
/// States: `expects` says what may stand next between tokens; inside a string the next byte is content. The text has ended
/// when its one value has, and nothing but space follows.
package struct JSONEvents {
    package enum Event: Equatable {
        /// Nothing more without more bytes.
        case needsBytes
        case beginArray, endArray, beginObject, endObject
        /// Of the member whose value comes next.
        case name([UInt8])
        /// A piece of a string, escapes resolved; may be empty.
        case text([UInt8], isLast: Bool)
        /// As it was written.
        case number([UInt8])
        case bool(Bool)
        case null
        /// The text is complete. Comes again whenever it is asked for.
        case ended
    }

    package struct Mistake: Error, Equatable, CustomStringConvertible {
        /// Where in the text, in bytes from its start.
        package let offset: Int
        package let expected: String
        package var description: String { "byte \(offset): expected \(expected)" }
    }

    private enum Expectation { case value, valueOrEnd, nameOrEnd, name, colon, commaOrEnd, nothing }
    private enum Container { case array, object }

    /// Deeper nesting than this is refused, as parsers refuse it.
    private static let depthMax = 512
    private static let nameByteCountMax = 1 << 20
    /// Numbers have no limit in the grammar; no client writes one that is longer.
    private static let numberByteCountMax = 1024

    /// Unread input; `index` is where reading goes on.
    private var input: [UInt8] = []
    private var index = 0
    /// Bytes before `input`.
    private var consumed = 0
    private var isAtEnd = false
    private var expects = Expectation.value
    private var containers: [Container] = []
    private var isInString = false
    /// What is there of a name; `nil` outside of names.
    private var openName: [UInt8]?

    package init() {}

    package mutating func feed(_ bytes: [UInt8]) {
        consumed += index
        if index == input.count {
            input = bytes
        } else {
            input.removeFirst(index)
            input += bytes
        }
        index = 0
    }

    /// Says that no more bytes will come.
    package mutating func finish() { isAtEnd = true }

    package mutating func next() throws(Mistake) -> Event {
        if isInString { return try takeString() }
        while index < input.count {
            let byte = input[index]
            switch byte {
            case 0x20, 0x0A, 0x0D, 0x09: index += 1
            case UInt8(ascii: ","):
                guard expects == .commaOrEnd, let container = containers.last else { throw mistake(expected) }
                index += 1
                expects = container == .array ? .value : .name
            case UInt8(ascii: ":"):
                guard expects == .colon else { throw mistake(expected) }
                index += 1
                expects = .value
            case UInt8(ascii: "]"), UInt8(ascii: "}"): return try close(byte == UInt8(ascii: "]") ? .array : .object)
            case UInt8(ascii: "\""): return try openString()
            default: return try takeValue(byte)
            }
        }
        guard isAtEnd else { return .needsBytes }
        guard expects == .nothing else { throw mistake(expected) }
        return .ended
    }

    // MARK: Values

    private mutating func takeValue(_ byte: UInt8) throws(Mistake) -> Event {
        guard expects == .value || expects == .valueOrEnd else { throw mistake(expected) }
        switch byte {
        case UInt8(ascii: "["), UInt8(ascii: "{"):
            guard containers.count < Self.depthMax else { throw mistake("at most \(Self.depthMax) levels") }
            index += 1
            let container = byte == UInt8(ascii: "[") ? Container.array : .object
            containers.append(container)
            expects = container == .array ? .valueOrEnd : .nameOrEnd
            return container == .array ? .beginArray : .beginObject
        case UInt8(ascii: "t"): return try takeWord("true", .bool(true))
        case UInt8(ascii: "f"): return try takeWord("false", .bool(false))
        case UInt8(ascii: "n"): return try takeWord("null", .null)
        default: return try takeNumber()
        }
    }

    private mutating func close(_ container: Container) throws(Mistake) -> Event {
        let isAllowed = expects == .commaOrEnd || expects == (container == .array ? .valueOrEnd : .nameOrEnd)
        guard isAllowed, containers.last == container else { throw mistake(expected) }
        index += 1
        containers.removeLast()
        endValue()
        return container == .array ? .endArray : .endObject
    }

    private mutating func endValue() { expects = containers.isEmpty ? .nothing : .commaOrEnd }

    private mutating func takeWord(_ word: StaticString, _ event: Event) throws(Mistake) -> Event {
        let wanted = Array(word.description.utf8)
        let found = input[index..<min(input.count, index + wanted.count)]
        guard wanted.starts(with: found) else { throw mistake("a value") }
        guard found.count == wanted.count else {
            if isAtEnd { throw mistake("a value") }
            return .needsBytes
        }
        index += wanted.count
        endValue()
        return event
    }

    private mutating func takeNumber() throws(Mistake) -> Event {
        var end = index
        while end < input.count, Self.isOfNumber(input[end]) { end += 1 }
        guard end - index <= Self.numberByteCountMax else {
            throw mistake("a number of at most \(Self.numberByteCountMax) digits")
        }
        if end == input.count, !isAtEnd { return .needsBytes }
        let bytes = Array(input[index..<end])
        guard Self.isNumber(bytes) else { throw mistake("a value") }
        index = end
        endValue()
        return .number(bytes)
    }

    private static func isOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): true
        default: false
        }
    }

    private static func isNumber(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        func takeDigits() -> Int {
            let digits = rest.prefix { (0x30...0x39).contains($0) }.count
            rest = rest.dropFirst(digits)
            return digits
        }
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        let startsWithZero = rest.first == 0x30
        let whole = takeDigits()
        guard whole == 1 || whole > 1 && !startsWithZero else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            guard takeDigits() > 0 else { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
            guard takeDigits() > 0 else { return false }
        }
        return rest.isEmpty
    }

    // MARK: Strings

    private mutating func openString() throws(Mistake) -> Event {
        switch expects {
        case .value, .valueOrEnd: openName = nil
        case .name, .nameOrEnd: openName = []
        case .colon, .commaOrEnd, .nothing: throw mistake(expected)
        }
        index += 1
        isInString = true
        return try takeString()
    }

    /// The next piece of the string, up to its end or that of the input.
    private mutating func takeString() throws(Mistake) -> Event {
        var piece: [UInt8] = []
        var isLast = false
        scan: while index < input.count {
            let start = index
            var end = start
            while end < input.count, input[end] != UInt8(ascii: "\""), input[end] != UInt8(ascii: "\\"), input[end] >= 0x20 {
                end += 1
            }
            piece += input[start..<end]
            index = end
            guard end < input.count else { break }
            switch input[end] {
            case UInt8(ascii: "\""):
                index += 1
                isLast = true
                break scan
            case UInt8(ascii: "\\"): guard try takeEscape(&piece) else { break scan }
            default: throw mistake("no control character in a string")
            }
        }
        if !isLast, isAtEnd { throw mistake("the end of a string") }
        return try deliver(piece, isLast: isLast)
    }

    private mutating func deliver(_ piece: [UInt8], isLast: Bool) throws(Mistake) -> Event {
        if isLast { isInString = false }
        guard let name = openName else {
            if isLast { endValue() } else if piece.isEmpty { return .needsBytes }
            return .text(piece, isLast: isLast)
        }
        guard name.count + piece.count <= Self.nameByteCountMax else {
            throw mistake("a name of at most \(Self.nameByteCountMax) bytes")
        }
        guard isLast else {
            openName = name + piece
            return .needsBytes
        }
        openName = nil
        expects = .colon
        return .name(name + piece)
    }

    /// - Returns: false when more bytes are needed; nothing was taken then.
    private mutating func takeEscape(_ piece: inout [UInt8]) throws(Mistake) -> Bool {
        guard index + 1 < input.count else { return false }
        let simple: UInt8
        switch input[index + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): simple = input[index + 1]
        case UInt8(ascii: "b"): simple = 0x08
        case UInt8(ascii: "f"): simple = 0x0C
        case UInt8(ascii: "n"): simple = 0x0A
        case UInt8(ascii: "r"): simple = 0x0D
        case UInt8(ascii: "t"): simple = 0x09
        case UInt8(ascii: "u"): return try takeUnicodeEscape(&piece)
        default: throw mistake("an escape")
        }
        piece.append(simple)
        index += 2
        return true
    }

    /// Two escapes that are a surrogate pair make one scalar; half a pair is replaced, as decoders do.
    private mutating func takeUnicodeEscape(_ piece: inout [UInt8]) throws(Mistake) -> Bool {
        guard let first = try unit(at: index) else { return false }
        if (0xD800...0xDBFF).contains(first) {
            let next = index + 6
            let isPairPossible =
                (next >= input.count || input[next] == UInt8(ascii: "\\"))
                && (next + 1 >= input.count || input[next + 1] == UInt8(ascii: "u"))
            if isPairPossible {
                if next + 6 > input.count {
                    if !isAtEnd { return false }
                } else if let second = try unit(at: next), (0xDC00...0xDFFF).contains(second) {
                    Self.append(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00), to: &piece)
                    index += 12
                    return true
                }
            }
        }
        Self.append(first, to: &piece)
        index += 6
        return true
    }

    /// The four digits behind `\u`; `nil` when they aren't all there.
    private func unit(at place: Int) throws(Mistake) -> UInt32? {
        guard place + 6 <= input.count else { return nil }
        var value: UInt32 = 0
        for digit in input[(place + 2)..<(place + 6)] {
            switch digit {
            case 0x30...0x39: value = value << 4 | UInt32(digit - 0x30)
            case 0x41...0x46: value = value << 4 | UInt32(digit - 0x37)
            case 0x61...0x66: value = value << 4 | UInt32(digit - 0x57)
            default: throw mistake("four hexadecimal digits")
            }
        }
        return value
    }

    private static func append(_ value: UInt32, to bytes: inout [UInt8]) {
        let scalar = Unicode.Scalar(value) ?? "\u{FFFD}"
        bytes += UTF8.encode(scalar).map { Array($0) } ?? []
    }

    // MARK: Mistakes

    private var expected: String {
        switch expects {
        case .value: "a value"
        case .valueOrEnd: "a value or ]"
        case .nameOrEnd: "a name or }"
        case .name: "a name"
        case .colon: "a colon"
        case .commaOrEnd: containers.last == .object ? "a comma or }" : "a comma or ]"
        case .nothing: "nothing more"
        }
    }

    private func mistake(_ expected: String) -> Mistake { Mistake(offset: consumed + index, expected: expected) }
}
