/// What a client signs: the request in the form that both sides make of it (AWS Signature Version 4, task 1).
struct CanonicalRequest {
    /// The six parts, in one text.
    let text: String

    /// - Parameters:
    ///   - signedHeaders: Names in lower case, in the order that the client gives them.
    ///   - payloadHash: What stands for the body: its digest, or one of the names of a body that isn't hashed before.
    init(_ request: S3Request, signedHeaders: [String], payloadHash: String) {
        var text = request.method + "\n" + Self.path(request.path) + "\n" + Self.query(request.query) + "\n"
        for name in signedHeaders {
            let values = request.headers.lazy.filter { $0.name == name }.map { Self.collapse($0.value) }
            text += name + ":" + values.joined(separator: ",") + "\n"
        }
        text += "\n" + signedHeaders.joined(separator: ";") + "\n" + payloadHash
        self.text = text
    }

    /// Each segment decoded once and encoded again. Dots and double slashes are parts of keys: nothing is normalised.
    static func path(_ raw: String) -> String {
        if raw.isEmpty { return "/" }
        return raw.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { encode(decode($0, plus: UInt8(ascii: "+"))) }.joined(separator: "/")
    }

    /// Sorted by encoded name, then by encoded value; the signature itself is no part of what is signed.
    static func query(_ raw: String) -> String {
        var pairs: [(name: String, value: String)] = []
        for pair in raw.utf8.split(separator: UInt8(ascii: "&")) {
            let halves = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            let name = encode(decode(halves[0], plus: 0x20))
            if name == "X-Amz-Signature" { continue }
            pairs.append((name, halves.count == 2 ? encode(decode(halves[1], plus: 0x20)) : ""))
        }
        pairs.sort { ($0.name, $0.value) < ($1.name, $1.value) }
        return pairs.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
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
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.append(byte)
            default: encoded += [UInt8(ascii: "%"), digit(byte >> 4), digit(byte & 15)]
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
