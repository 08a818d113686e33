/// A cookie: what `Cookie` brings as name and value, and `Set-Cookie` sets with its attributes (RFC 6265bis).
public struct Cookie: Equatable, Sendable {
    public enum SameSite: String, Sendable {
        case strict = "Strict"
        case lax = "Lax"
        case none = "None"
    }

    public var name: String
    public var value: String
    /// A cookie without both ends with the browser's session.
    public var expires: HTTPDate?
    /// Seconds; 0 or less deletes the cookie. Wins over `expires`.
    public var maxAge: Int?
    public var domain: String?
    public var path: String?
    public var isSecure: Bool
    public var isHTTPOnly: Bool
    public var sameSite: SameSite?
    /// Keyed to the top-level site as well (CHIPS).
    public var isPartitioned: Bool

    public init(
        _ name: String, _ value: String, expires: HTTPDate? = nil, maxAge: Int? = nil, domain: String? = nil,
        path: String? = nil, isSecure: Bool = false, isHTTPOnly: Bool = false, sameSite: SameSite? = nil,
        isPartitioned: Bool = false
    ) {
        self.name = name
        self.value = value
        self.expires = expires
        self.maxAge = maxAge
        self.domain = domain
        self.path = path
        self.isSecure = isSecure
        self.isHTTPOnly = isHTTPOnly
        self.sameSite = sameSite
        self.isPartitioned = isPartitioned
    }

    /// The cookies of a `Cookie` header, in their order. Pairs without a name are left out; quotes around a
    /// value belong to it, as browsers have it.
    public static func parse(_ header: String) -> [(name: String, value: String)] {
        header.utf8.split(separator: 0x3B).compactMap { pair in
            guard let equals = pair.firstIndex(of: 0x3D) else { return nil }
            let name = pair[..<equals].trimmingHTTPWhitespace()
            let value = pair[pair.index(after: equals)...].trimmingHTTPWhitespace()
            return name.isEmpty ? nil : (String(Substring(name)), String(Substring(value)))
        }
    }

    /// The value of one cookie of a `Cookie` header: the first with this name.
    public static func value(of name: String, in header: String) -> String? {
        parse(header).first { $0.name == name }?.value
    }

    /// The value for a `Set-Cookie` header.
    ///
    /// - Throws: `CookieError` when a browser would refuse the cookie, or read it differently.
    public func setCookieValue() throws(CookieError) -> String {
        try validate()
        var text = "\(name)=\(value)"
        if let expires { text += "; Expires=\(expires.text)" }
        if let maxAge { text += "; Max-Age=\(maxAge)" }
        if let domain { text += "; Domain=\(domain)" }
        if let path { text += "; Path=\(path)" }
        if isSecure { text += "; Secure" }
        if isHTTPOnly { text += "; HttpOnly" }
        if let sameSite { text += "; SameSite=\(sameSite.rawValue)" }
        if isPartitioned { text += "; Partitioned" }
        return text
    }

    private func validate() throws(CookieError) {
        guard !name.isEmpty, name.utf8.allSatisfy(\.isTokenByte) else { throw .invalidName(name) }
        let bare =
            value.utf8.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"")
            ? value.dropFirst().dropLast() : value[...]
        guard bare.utf8.allSatisfy(\.isCookieOctet) else { throw .invalidValue(name: name) }
        guard name.utf8.count + value.utf8.count <= 4096 else { throw .tooLong(name: name) }
        for (attribute, text) in [("Domain", domain), ("Path", path)] {
            guard let text else { continue }
            guard text.utf8.count <= 1024, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F && $0 != 0x3B })
            else {
                throw .invalidAttribute(attribute, name: name)
            }
        }
        if sameSite == SameSite.none, !isSecure { throw .needsSecure("SameSite=None", name: name) }
        if isPartitioned, !isSecure { throw .needsSecure("Partitioned", name: name) }
        let prefix = name.lowercased()
        if prefix.hasPrefix("__secure-"), !isSecure { throw .needsSecure("the prefix __Secure-", name: name) }
        if prefix.hasPrefix("__host-") {
            guard isSecure else { throw .needsSecure("the prefix __Host-", name: name) }
            guard path == "/", domain == nil else { throw .hostPrefix(name: name) }
        }
    }
}

/// A cookie that a browser would refuse.
public enum CookieError: Error, Equatable, Sendable, CustomStringConvertible {
    case invalidName(String)
    case invalidValue(name: String)
    case invalidAttribute(String, name: String)
    case tooLong(name: String)
    case needsSecure(String, name: String)
    case hostPrefix(name: String)

    public var description: String {
        switch self {
        case .invalidName: "a cookie's name is not a token"
        case .invalidValue(let name):
            "the value of cookie \"\(name)\" contains whitespace, a quote, a comma, a semicolon or a backslash; encode it"
        case .invalidAttribute(let attribute, let name):
            "the attribute \(attribute) of cookie \"\(name)\" contains a control character or a semicolon, or is too long"
        case .tooLong(let name): "name and value of cookie \"\(name)\" are longer than 4096 bytes"
        case .needsSecure(let reason, let name): "cookie \"\(name)\" must be Secure: \(reason) demands it"
        case .hostPrefix(let name): "cookie \"\(name)\" must have Path=/ and no Domain: its prefix demands it"
        }
    }
}

extension UInt8 {
    /// RFC 6265bis `cookie-octet`.
    fileprivate var isCookieOctet: Bool {
        self > 0x20 && self < 0x7F && self != 0x22 && self != 0x2C && self != 0x3B && self != 0x5C
    }
}
