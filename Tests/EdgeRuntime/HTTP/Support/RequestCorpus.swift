internal import Foundation
import Testing

/// The cases of `Tests/Corpora/http1-requests.txt`; the file's head describes its form.
struct RequestCase: Sendable, CustomTestStringConvertible {
    let name: String
    /// One word per request on the connection.
    let expected: [String]
    let bytes: [UInt8]

    var testDescription: String { name }

    static let all: [RequestCase] = load()

    private static func load() -> [RequestCase] {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../Corpora/http1-requests.txt").standardizedFileURL
        guard let text = try? String(contentsOf: file, encoding: .utf8) else { return [] }
        var cases: [RequestCase] = []
        var name: String?
        var expected: [String] = []
        var raw = ""
        func finish() {
            guard let name else { return }
            cases.append(RequestCase(name: name, expected: expected, bytes: unescape(raw)))
        }
        for line in text.split(separator: "\n") {
            if line.hasPrefix("case: ") {
                finish()
                (name, expected, raw) = (String(line.dropFirst(6)), [], "")
            } else if line.hasPrefix("expect: ") {
                expected = line.dropFirst(8).split(separator: " ").map(String.init)
            } else if line.hasPrefix("> ") {
                raw += line.dropFirst(2)
            }
        }
        finish()
        return cases
    }

    static func unescape(_ text: some StringProtocol) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let escape = rest.popFirst() else {
                bytes.append(byte)
                continue
            }
            switch escape {
            case UInt8(ascii: "r"): bytes.append(0x0D)
            case UInt8(ascii: "n"): bytes.append(0x0A)
            case UInt8(ascii: "t"): bytes.append(0x09)
            case UInt8(ascii: "0"): bytes.append(0x00)
            case UInt8(ascii: "x"):
                bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
                rest = rest.dropFirst(2)
            case UInt8(ascii: "{"):
                let inner = rest.prefix { $0 != UInt8(ascii: "}") }
                rest = rest.dropFirst(inner.count + 1)
                let colon = inner.firstIndex(of: UInt8(ascii: ":")) ?? inner.endIndex
                let count = Int(String(decoding: inner[..<colon], as: UTF8.self)) ?? 0
                let repeated = unescape(String(decoding: inner[colon...].dropFirst(), as: UTF8.self))
                for _ in 0..<count { bytes += repeated }
            default: bytes.append(escape)
            }
        }
        return bytes
    }
}
