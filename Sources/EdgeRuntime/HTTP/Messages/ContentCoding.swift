/// A way to write a body in fewer bytes (RFC 9110 §8.4.1) that the node can write.
package enum ContentCoding: String, Sendable, CaseIterable {
    case brotli = "br"
    case gzip
}

/// Which codings a client takes, as its `Accept-Encoding` says (RFC 9110 §12.5.3). A client that says nothing gets none:
/// it may take anything, but who can't read codings is who says nothing.
package struct AcceptedCodings: Equatable, Sendable {
    /// In thousandths; `nil`: not named.
    private var brotli: Int?
    private var gzip: Int?
    private var others: Int?

    package static let none = AcceptedCodings()

    package init() {}

    package init(_ fields: String...) { for field in fields { add(field) } }

    /// Adds what one more line says.
    package mutating func add(_ field: String) {
        for member in field.utf8.split(separator: UInt8(ascii: ",")) {
            var parts = member.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)[...]
            guard let first = parts.popFirst() else { continue }
            var weight = 1000
            for part in parts { if let stated = Self.weight(part) { weight = stated } }
            switch String(decoding: Self.trimmed(first), as: UTF8.self).lowercased() {
            case "br": brotli = weight
            case "gzip", "x-gzip": gzip = weight
            case "*": others = weight
            default: break
            }
        }
    }

    /// `q=0.5`; what starts like a weight and is none refuses the coding. `nil`: another parameter.
    private static func weight(_ parameter: Substring.UTF8View) -> Int? {
        let text = trimmed(parameter)
        guard let name = text.first, name | 0x20 == UInt8(ascii: "q"), text.dropFirst().first == UInt8(ascii: "=") else {
            return nil
        }
        let digits = Array(text.dropFirst(2))
        guard let whole = digits.first, whole == UInt8(ascii: "0") || whole == UInt8(ascii: "1"), digits.count <= 5,
            digits.count < 2 || digits[1] == UInt8(ascii: ".")
        else { return 0 }
        var weight = whole == UInt8(ascii: "1") ? 1000 : 0
        var unit = 100
        for digit in digits.dropFirst(2) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return 0 }
            weight += Int(digit - UInt8(ascii: "0")) * unit
            unit /= 10
        }
        return weight <= 1000 ? weight : 0
    }

    private static func trimmed(_ text: Substring.UTF8View) -> Substring.UTF8View {
        var text = text
        while let byte = text.first, byte == 0x20 || byte == 0x09 { text = text.dropFirst() }
        while let byte = text.last, byte == 0x20 || byte == 0x09 { text = text.dropLast() }
        return text
    }

    /// The coding to use of those there are; of two that the client likes as much, the one that makes less of the body.
    ///
    /// - Parameter available: at least one.
    package func preferred(of available: [ContentCoding] = ContentCoding.allCases) -> ContentCoding? {
        var best: (coding: ContentCoding, weight: Int)?
        for coding in ContentCoding.allCases where available.contains(coding) {
            let weight = (coding == .brotli ? brotli : gzip) ?? others ?? 0
            if weight > best?.weight ?? 0 { best = (coding, weight) }
        }
        return best?.coding
    }
}

extension MediaType {
    /// Whether bodies of this type get much smaller when they are compressed. Types that are compressed in themselves (most
    /// pictures, films, archives) don't.
    package var isCompressible: Bool {
        switch type {
        case "text": true
        case "application":
            Self.compressibleSubtypes.contains(subtype) || subtype.hasSuffix("+json") || subtype.hasSuffix("+xml")
        case "image": ["svg+xml", "bmp", "x-icon", "vnd.microsoft.icon"].contains(subtype)
        case "font": ["ttf", "otf", "eot", "opentype", "sfnt", "collection"].contains(subtype)
        case "model": subtype == "gltf+json"
        default: false
        }
    }

    private static let compressibleSubtypes: Set<String> = [
        "json", "javascript", "x-javascript", "xml", "wasm", "manifest+json", "graphql", "ecmascript", "rtf", "x-ndjson",
        "ndjson", "x-httpd-php", "vnd.ms-fontobject", "x-sh", "x-yaml", "yaml", "toml", "sql", "x-www-form-urlencoded",
    ]
}
