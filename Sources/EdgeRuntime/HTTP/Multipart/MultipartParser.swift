/// Cuts the bytes of a multipart/form-data body into parts (RFC 7578, RFC 2046 §5.1). Sans I/O: bytes go in
/// with `feed`, events come out of `next`.
///
/// States: `preamble` until the first delimiter, `delimited` behind one, `headers` until the empty line, `content`
/// until the next delimiter, `closed` behind the closing one. It holds at most one header block and one
/// fed piece.
package struct MultipartParser {
    package enum Event: Equatable {
        /// Nothing more without more bytes.
        case needsBytes
        /// A part begins: its header lines, names in lower case.
        case began([HeaderLine])
        /// A piece of the part's content, never empty.
        case content([UInt8])
        case ended
        /// The closing delimiter was read; what follows is ignored.
        case closed
    }
    package struct HeaderLine: Equatable {
        package let name: String
        package let value: String
    }
    private enum State { case preamble, delimited, headers, content, endOfPart, closed }

    private let delimiter: [UInt8]
    private let limits: MultipartLimits
    private var state = State.preamble
    /// Unread input; `start` is where reading goes on.
    private var input: [UInt8]
    private var start = 0
    private var isAtEnd = false
    private var partCount = 0
    private var byteCount = 0

    package init(boundary: [UInt8], limits: MultipartLimits) {
        delimiter = Array("\r\n--".utf8) + boundary
        self.limits = limits
        // The first delimiter stands at the start of a line; this gives it the line before.
        input = [13, 10]
    }

    package mutating func feed(_ bytes: [UInt8]) throws(MultipartError) {
        byteCount += bytes.count
        guard byteCount <= limits.totalBytesMax else { throw .tooLarge(limit: limits.totalBytesMax) }
        guard state != .closed else { return }
        if start == input.count {
            input = bytes
        } else {
            input.removeFirst(start)
            input += bytes
        }
        start = 0
    }

    /// Says that no more bytes will come.
    package mutating func finish() { isAtEnd = true }

    package mutating func next() throws(MultipartError) -> Event {
        while true {
            switch state {
            case .preamble:
                if let found = findDelimiter() {
                    start = found + delimiter.count
                    state = .delimited
                } else {
                    start = max(start, input.count - delimiter.count + 1)
                    return try needBytes()
                }
            case .delimited:
                guard try passDelimiterLine() else { return try needBytes() }
                if state == .closed { return .closed }
            case .headers:
                guard let lines = try takeHeaders() else { return try needBytes() }
                state = .content
                // A part without content has its delimiter at once: the empty line's CRLF belongs to it.
                return .began(lines)
            case .content:
                if let found = findDelimiter() {
                    let piece = Array(input[start..<found])
                    start = found + delimiter.count
                    state = .endOfPart
                    if !piece.isEmpty { return .content(piece) }
                } else {
                    let safe = input.count - delimiter.count + 1
                    guard safe > start else { return try needBytes() }
                    defer { start = safe }
                    return .content(Array(input[start..<safe]))
                }
            case .endOfPart:
                state = .delimited
                return .ended
            case .closed: return .closed
            }
        }
    }

    private func needBytes() throws(MultipartError) -> Event {
        guard !isAtEnd else { throw .truncated }
        return .needsBytes
    }

    private func findDelimiter() -> Int? {
        guard input.count - start >= delimiter.count else { return nil }
        var index = start
        let last = input.count - delimiter.count
        while index <= last {
            if input[index] == 13, matchesDelimiter(at: index) { return index }
            index += 1
        }
        return nil
    }

    private func matchesDelimiter(at index: Int) -> Bool {
        for offset in 1..<delimiter.count where input[index + offset] != delimiter[offset] { return false }
        return true
    }

    /// Behind a delimiter stand `--` (the end) or padding and CRLF. False when more bytes are needed.
    private mutating func passDelimiterLine() throws(MultipartError) -> Bool {
        guard input.count - start >= 2 else { return false }
        if input[start] == UInt8(ascii: "-"), input[start + 1] == UInt8(ascii: "-") {
            state = .closed
            start = input.count
            return true
        }
        var index = start
        while index < input.count, input[index] == 32 || input[index] == 9 { index += 1 }
        guard index - start <= 256 else { throw .malformed("padding behind a boundary") }
        guard index + 1 < input.count else { return false }
        guard input[index] == 13, input[index + 1] == 10 else { throw .malformed("boundary line") }
        partCount += 1
        guard partCount <= limits.partsMax else { throw .tooManyParts(limit: limits.partsMax) }
        // The CRLF stays: it is what an empty header block's end, and a delimiter at once, begin with.
        start = index
        state = .headers
        return true
    }

    /// The header lines between the CRLF of the delimiter and the empty line; `nil` when more bytes are needed.
    private mutating func takeHeaders() throws(MultipartError) -> [HeaderLine]? {
        var lines: [HeaderLine] = []
        var index = start + 2
        while true {
            guard let end = lineEnd(from: index) else {
                guard input.count - start <= limits.headerBytesMax else {
                    throw .headersTooLarge(limit: limits.headerBytesMax)
                }
                return nil
            }
            guard end - start <= limits.headerBytesMax else {
                throw .headersTooLarge(limit: limits.headerBytesMax)
            }
            if end == index {
                // An empty part's delimiter may begin with the CRLF of the empty line.
                let content = index + 2
                if !isAtEnd, isDelimiterBegun(at: content) { return nil }
                start = isBareDelimiter(at: content) ? index : content
                return lines
            }
            lines.append(try headerLine(index..<end))
            index = end + 2
        }
    }

    /// Whether what stands at `index` is a delimiter without its CRLF, as behind an empty part.
    private func isBareDelimiter(at index: Int) -> Bool {
        guard input.count - index >= delimiter.count - 2 else { return false }
        for offset in 2..<delimiter.count where input[index + offset - 2] != delimiter[offset] {
            return false
        }
        return true
    }

    /// Whether all that is there from `index` on is the beginning of a delimiter without its CRLF.
    private func isDelimiterBegun(at index: Int) -> Bool {
        guard input.count - index < delimiter.count - 2 else { return false }
        for offset in index..<input.count where input[offset] != delimiter[offset - index + 2] {
            return false
        }
        return true
    }

    private func lineEnd(from index: Int) -> Int? {
        var end = index
        while end + 1 < input.count {
            if input[end] == 13, input[end + 1] == 10 { return end }
            end += 1
        }
        return nil
    }

    private func headerLine(_ range: Range<Int>) throws(MultipartError) -> HeaderLine {
        guard let colon = input[range].firstIndex(of: UInt8(ascii: ":")), colon > range.lowerBound else {
            throw .malformed("part header")
        }
        var name = ""
        for byte in input[range.lowerBound..<colon] {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                name.unicodeScalars.append(Unicode.Scalar(byte | 0x20))
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default: throw .malformed("part header")
            }
        }
        var value = input[(colon + 1)..<range.upperBound]
        while let first = value.first, first == 32 || first == 9 { value.removeFirst() }
        while let last = value.last, last == 32 || last == 9 { value.removeLast() }
        guard !value.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 }) else {
            throw .malformed("part header")
        }
        return HeaderLine(name: name, value: String(decoding: value, as: UTF8.self))
    }
}
