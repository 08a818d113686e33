internal import Interfaces

/// The body of a query: `{sql, params?}` or `{batch: [{sql, params?}]}`. Read straight into statements: a blob is an array of
/// numbers, which as a tree of JSON would take a hundred times its size.
struct D1QueryBody: Sendable {
    private(set) var statements: [D1Request.Statement] = []

    init(_ bytes: [UInt8]) throws(APIError) {
        guard JSONGrammar.accepts(bytes[...]) else {
            throw APIError(400, 7400, "The request is malformed: it must be JSON")
        }
        var scanner = Scanner(bytes)
        var sql: String?
        var parameters: [D1Value] = []
        var batch: [D1Request.Statement]?
        try scanner.object(at: "") { scanner, name throws(APIError) in
            switch name {
            case "sql": sql = try scanner.string(at: "/sql")
            case "params": parameters = try scanner.parameters(at: "/params")
            case "batch": batch = try scanner.batch()
            default: scanner.skip()
            }
        }
        switch (sql, batch) {
        case (let sql?, nil): statements = [.init(sql: sql, parameters: parameters)]
        case (nil, let batch?): statements = batch
        case (nil, nil): throw Self.invalid("/sql", "a string, or /batch an array")
        case (_?, _?): throw Self.invalid("", "an object with one of sql and batch")
        }
        guard statements.count <= D1Request.statementsMax else {
            throw Self.invalid("/batch", "at most \(D1Request.statementsMax) statements")
        }
    }

    fileprivate static func invalid(_ pointer: String, _ expected: String) -> APIError {
        APIError(
            400, 7400, "Invalid property: \(pointer.isEmpty ? "body" : pointer) must be \(expected)", pointer: pointer)
    }
}

/// Walks through bytes that are known to be one JSON text.
private struct Scanner {
    private let bytes: [UInt8]
    private var index = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private mutating func next() -> UInt8 {
        while index < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[index]) { index += 1 }
        return bytes[index]
    }

    /// Takes a bracket, comma or colon if it comes next.
    private mutating func take(_ byte: UInt8) -> Bool {
        guard next() == byte else { return false }
        index += 1
        return true
    }

    mutating func object(
        at pointer: String, _ member: (inout Scanner, String) throws(APIError) -> Void
    ) throws(APIError) {
        guard take(UInt8(ascii: "{")) else { throw D1QueryBody.invalid(pointer, "an object") }
        if take(UInt8(ascii: "}")) { return }
        repeat {
            _ = next()
            let name = text()
            _ = take(UInt8(ascii: ":"))
            try member(&self, name)
        } while take(UInt8(ascii: ","))
        _ = take(UInt8(ascii: "}"))
    }

    private mutating func array(
        at pointer: String, of what: String, _ item: (inout Scanner, Int) throws(APIError) -> Void
    ) throws(APIError) {
        guard take(UInt8(ascii: "[")) else { throw D1QueryBody.invalid(pointer, what) }
        if take(UInt8(ascii: "]")) { return }
        var count = 0
        repeat {
            try item(&self, count)
            count += 1
        } while take(UInt8(ascii: ","))
        _ = take(UInt8(ascii: "]"))
    }

    mutating func batch() throws(APIError) -> [D1Request.Statement] {
        var statements: [D1Request.Statement] = []
        try array(at: "/batch", of: "an array") { scanner, number throws(APIError) in
            // Of more than may be, one is kept: enough for the error to be found.
            guard statements.count <= D1Request.statementsMax else { return scanner.skip() }
            var sql: String?
            var parameters: [D1Value] = []
            try scanner.object(at: "/batch/\(number)") { scanner, name throws(APIError) in
                switch name {
                case "sql": sql = try scanner.string(at: "/batch/\(number)/sql")
                case "params": parameters = try scanner.parameters(at: "/batch/\(number)/params")
                default: scanner.skip()
                }
            }
            guard let sql else { throw D1QueryBody.invalid("/batch/\(number)/sql", "a string") }
            statements.append(.init(sql: sql, parameters: parameters))
        }
        return statements
    }

    mutating func parameters(at pointer: String) throws(APIError) -> [D1Value] {
        if next() == UInt8(ascii: "n") {
            skip()
            return []
        }
        var values: [D1Value] = []
        try array(at: pointer, of: "an array") { scanner, number throws(APIError) in
            guard values.count <= D1Request.parametersMax else { return scanner.skip() }
            values.append(try scanner.value(at: "\(pointer)/\(number)"))
        }
        return values
    }

    /// Numbers are REAL, as in JavaScript, and so are truths.
    private mutating func value(at pointer: String) throws(APIError) -> D1Value {
        switch next() {
        case UInt8(ascii: "n"):
            skip()
            return .null
        case UInt8(ascii: "t"):
            skip()
            return .real(1)
        case UInt8(ascii: "f"):
            skip()
            return .real(0)
        case UInt8(ascii: "\""): return .text(text())
        case UInt8(ascii: "["): return .blob(try blob(at: pointer))
        case UInt8(ascii: "{"):
            throw D1QueryBody.invalid(pointer, "null, true, false, a number, a string or an array of bytes")
        default:
            let value = Double(String(decoding: number(), as: UTF8.self)) ?? .nan
            return value.isFinite ? .real(value) : .null
        }
    }

    private mutating func blob(at pointer: String) throws(APIError) -> [UInt8] {
        var blob: [UInt8] = []
        try array(at: pointer, of: "an array") { scanner, _ throws(APIError) in
            _ = scanner.next()
            let digits = scanner.number()
            guard (1...3).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
                let byte = UInt8(exactly: digits.reduce(0) { $0 * 10 + Int($1 - 0x30) })
            else { throw D1QueryBody.invalid(pointer, "an array of numbers from 0 to 255") }
            blob.append(byte)
        }
        return blob
    }

    mutating func string(at pointer: String) throws(APIError) -> String {
        guard next() == UInt8(ascii: "\"") else { throw D1QueryBody.invalid(pointer, "a string") }
        return text()
    }

    /// The bytes of a number; empty where something else stands.
    private mutating func number() -> ArraySlice<UInt8> {
        let start = index
        while index < bytes.count, Self.isOfNumber(bytes[index]) { index += 1 }
        return bytes[start..<index]
    }

    private static func isOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): true
        default: false
        }
    }

    /// Goes past the value that comes next.
    mutating func skip() {
        var depth = 0
        repeat {
            switch next() {
            case UInt8(ascii: "\""): _ = text()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                index += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"): index += 1
            default:
                // A number or a word.
                while index < bytes.count, Self.isOfNumber(bytes[index]) || (0x61...0x7A).contains(bytes[index]) { index += 1 }
            }
        } while depth > 0
    }

    // MARK: Texts

    /// The text whose quote comes next.
    private mutating func text() -> String {
        index += 1
        let start = index
        while bytes[index] != UInt8(ascii: "\""), bytes[index] != UInt8(ascii: "\\") { index += 1 }
        if bytes[index] == UInt8(ascii: "\"") {
            defer { index += 1 }
            return String(decoding: bytes[start..<index], as: UTF8.self)
        }
        var text = Array(bytes[start..<index])
        while bytes[index] != UInt8(ascii: "\"") {
            if bytes[index] == UInt8(ascii: "\\") {
                takeEscape(into: &text)
            } else {
                text.append(bytes[index])
                index += 1
            }
        }
        index += 1
        return String(decoding: text, as: UTF8.self)
    }

    private mutating func takeEscape(into text: inout [UInt8]) {
        let letter = bytes[index + 1]
        index += 2
        switch letter {
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"): text += String(takeScalar()).utf8
        default: text.append(letter)
        }
    }

    /// Behind `\u`: a character of the first plane, or two halves of another one. A half alone is no character.
    private mutating func takeScalar() -> Unicode.Scalar {
        let first = takeUnit()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u") else {
            return "\u{FFFD}"
        }
        let mark = index
        index += 2
        let second = takeUnit()
        if (0xDC00..<0xE000).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        {
            return scalar
        }
        index = mark
        return "\u{FFFD}"
    }

    private mutating func takeUnit() -> UInt32 {
        defer { index += 4 }
        return UInt32(String(decoding: bytes[index..<(index + 4)], as: UTF8.self), radix: 16) ?? 0xD800
    }
}
