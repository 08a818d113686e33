/// A media type with its parameters, as `Content-Type` carries it
/// (https://mimesniff.spec.whatwg.org/#parsing-a-mime-type).
public struct MediaType: Hashable, Sendable, CustomStringConvertible {
    /// Lower case.
    public let type: String
    /// Lower case.
    public let subtype: String
    /// Names in lower case, in their order, each once.
    public private(set) var parameters: [Parameter]

    public struct Parameter: Hashable, Sendable {
        public let name: String
        public let value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// - Returns: `nil` when there is no `type/subtype` of two tokens. Malformed parameters are left out, and
    /// of
    ///   two with one name the first counts.
    public init?(_ text: String) {
        var rest = text.utf8[...].trimmingHTTPWhitespace()
        guard let slash = rest.firstIndex(of: 0x2F) else { return nil }
        let type = rest[..<slash]
        rest = rest[rest.index(after: slash)...]
        let subtypeEnd = rest.firstIndex(of: 0x3B) ?? rest.endIndex
        let subtype = rest[..<subtypeEnd].trimmingHTTPWhitespace()
        guard !type.isEmpty, type.allSatisfy(\.isTokenByte), !subtype.isEmpty,
            subtype.allSatisfy(\.isTokenByte)
        else { return nil }
        self.type = type.lowercasedASCII
        self.subtype = subtype.lowercasedASCII
        parameters = []
        rest = rest[subtypeEnd...]
        while !rest.isEmpty { takeParameter(&rest) }
    }

    public init(type: String, subtype: String, parameters: [Parameter] = []) {
        self.type = type
        self.subtype = subtype
        self.parameters = parameters
    }

    /// `type/subtype`.
    public var essence: String { "\(type)/\(subtype)" }

    /// The value of a parameter, its name in lower case.
    public subscript(_ name: String) -> String? { parameters.first { $0.name == name }?.value }

    public var charset: String? { self["charset"] }
    public var boundary: String? { self["boundary"] }

    public var isJSON: Bool {
        subtype == "json" && (type == "application" || type == "text") || subtype.hasSuffix("+json")
    }

    public var description: String {
        parameters.reduce(into: essence) { text, parameter in
            text += ";\(parameter.name)="
            if !parameter.value.isEmpty, parameter.value.utf8.allSatisfy(\.isTokenByte) {
                text += parameter.value
            } else {
                text += "\""
                for character in parameter.value.unicodeScalars {
                    if character == "\"" || character == "\\" { text += "\\" }
                    text.unicodeScalars.append(character)
                }
                text += "\""
            }
        }
    }

    /// - Parameter rest: starts at a semicolon.
    private mutating func takeParameter(_ rest: inout Substring.UTF8View) {
        rest.removeFirst()
        while let byte = rest.first, byte.isHTTPWhitespace { rest.removeFirst() }
        let nameEnd = rest.firstIndex { $0 == 0x3B || $0 == 0x3D } ?? rest.endIndex
        let name = rest[..<nameEnd]
        rest = rest[nameEnd...]
        guard rest.first == 0x3D else { return }
        rest.removeFirst()

        var value: [UInt8] = []
        var isQuoted = false
        if rest.first == 0x22 {
            isQuoted = true
            rest.removeFirst()
            while let byte = rest.popFirst(), byte != 0x22 {
                if byte == 0x5C, let escaped = rest.popFirst() {
                    value.append(escaped)
                } else {
                    value.append(byte)
                }
            }
            rest = rest[(rest.firstIndex(of: 0x3B) ?? rest.endIndex)...]
        } else {
            let valueEnd = rest.firstIndex(of: 0x3B) ?? rest.endIndex
            value = Array(rest[..<valueEnd].trimmingHTTPWhitespace(leading: false))
            rest = rest[valueEnd...]
        }
        let key = name.lowercasedASCII
        guard !name.isEmpty, name.allSatisfy(\.isTokenByte), isQuoted || !value.isEmpty, self[key] == nil,
            value.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F })
        else { return }
        parameters.append(Parameter(name: key, value: String(decoding: value, as: UTF8.self)))
    }
}

extension UInt8 {
    /// https://fetch.spec.whatwg.org/#http-whitespace
    var isHTTPWhitespace: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }
}

extension Substring.UTF8View {
    func trimmingHTTPWhitespace(leading: Bool = true) -> Substring.UTF8View {
        var rest = self
        if leading { while let byte = rest.first, byte.isHTTPWhitespace { rest.removeFirst() } }
        while let byte = rest.last, byte.isHTTPWhitespace { rest.removeLast() }
        return rest
    }

    var lowercasedASCII: String { String(decoding: map(\.asciiLowercased), as: UTF8.self) }
}
