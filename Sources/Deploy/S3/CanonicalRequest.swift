/// What a client signs: the request in the form that both sides make of it (AWS Signature Version 4, task 1).
struct CanonicalRequest {
    /// The six parts, in one text.
    let text: String

    /// - Parameters:
    ///   - signedHeaders: Names in lower case, in the order that the client gives them.
    ///   - payloadHash: What stands for the body: its digest, or one of the names of a body that isn't hashed before.
    init(_ request: S3Request, signedHeaders: [String], payloadHash: String) {
        var text = ""
        text.reserveCapacity(request.path.utf8.count + request.query.utf8.count + 512)
        func add(_ part: String) {
            text += part
            text += "\n"
        }
        add(request.method)
        add(Self.path(request.path))
        Self.appendQuery(request.query, to: &text)
        text += "\n"
        for name in signedHeaders {
            text += name
            text += ":"
            var isFirst = true
            for header in request.headers where header.name == name {
                if !isFirst { text += "," }
                text += Self.collapse(header.value)
                isFirst = false
            }
            text += "\n"
        }
        text += "\n"
        add(signedHeaders.joined(separator: ";"))
        text += payloadHash
        self.text = text
    }

    /// Each segment decoded once and encoded again. Dots and double slashes are parts of keys: nothing is normalised.
    static func path(_ raw: String) -> String {
        if raw.isEmpty { return "/" }
        if isCanonical(Array(raw.utf8)[...], separator: UInt8(ascii: "/")) { return raw }
        return raw.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { encode(decode($0, plus: UInt8(ascii: "+"))) }.joined(separator: "/")
    }

    /// Sorted by encoded name, then by encoded value; the signature itself is no part of what is signed.
    static func query(_ raw: String) -> String {
        var text = ""
        appendQuery(raw, to: &text)
        return text
    }

    private static func appendQuery(_ raw: String, to text: inout String) {
        var pairs: [(name: String, value: String)] = []
        for pair in Array(raw.utf8).split(separator: UInt8(ascii: "&")) {
            let mark = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            let name = canonical(pair[..<mark])
            if name == "X-Amz-Signature" { continue }
            pairs.append((name, mark < pair.endIndex ? canonical(pair[(mark + 1)...]) : ""))
        }
        pairs.sort { ($0.name, $0.value) < ($1.name, $1.value) }
        for (index, pair) in pairs.enumerated() {
            if index > 0 { text += "&" }
            text += pair.name
            text += "="
            text += pair.value
        }
    }

    /// One name or value of a query, decoded once and encoded again.
    private static func canonical(_ text: ArraySlice<UInt8>) -> String {
        isCanonical(text, separator: nil) ? String(decoding: text, as: UTF8.self) : encode(decode(text, plus: 0x20))
    }

    /// Whether decoding and encoding would change nothing, as with most of what clients send.
    private static func isCanonical(_ text: ArraySlice<UInt8>, separator: UInt8?) -> Bool {
        var index = text.startIndex
        while index < text.endIndex {
            let byte = text[index]
            index += 1
            if isUnreserved(byte) || byte == separator { continue }
            guard byte == UInt8(ascii: "%"), index + 1 < text.endIndex, let high = upperCaseValue(text[index]),
                let low = upperCaseValue(text[index + 1]), !isUnreserved(high << 4 | low)
            else { return false }
            index += 2
        }
        return true
    }

    /// RFC 3986 §2.3.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static func upperCaseValue(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x37
        default: nil
        }
    }

    /// Without the blanks around it, and each run of blanks inside as one.
    static func collapse(_ value: String) -> String {
        guard value.utf8.contains(where: { $0 == 0x20 || $0 == 0x09 }) else { return value }
        return collapseBlanks(value)
    }

    private static func collapseBlanks(_ value: String) -> String {
        value.split { $0 == " " || $0 == "\t" }.joined(separator: " ")
    }

    /// All but the unreserved characters of RFC 3986 §2.3 as `%XX`.
    static func encode(_ bytes: [UInt8]) -> String {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(bytes.count)
        for byte in bytes {
            if isUnreserved(byte) {
                encoded.append(byte)
            } else {
                encoded.append(UInt8(ascii: "%"))
                encoded.append(digit(byte >> 4))
                encoded.append(digit(byte & 15))
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// Each `%XX` replaced by its byte, once; what is no escape stays. `plus` stands for a `+`.
    static func decode(_ text: some Collection<UInt8>, plus: UInt8) -> [UInt8] {
        let bytes = Array(text)
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count, let high = value(bytes[index + 1]),
                let low = value(bytes[index + 2])
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(bytes[index] == UInt8(ascii: "+") ? plus : bytes[index])
                index += 1
            }
        }
        return decoded
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? value + 0x30 : value + 0x37 }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x37
        case 0x61...0x66: digit - 0x57
        default: nil
        }
    }
}
