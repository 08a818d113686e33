/// The scheme a request came with, or that a pattern asks for.
package enum RouteScheme: UInt8, Sendable {
    case http = 1
    case https = 2
}

/// A route as it's written in a configuration: `[scheme://]host[/path]`, with `*` allowed at the start of the
/// host and at the end of the path, where it stands for zero or more characters.
///
/// A pattern without a path stands for the path `/` alone. The path is matched against path **and query** of
/// the request target, byte for byte as sent.
package struct RoutePattern: Hashable, Sendable, CustomStringConvertible {
    /// As written.
    package let text: String
    /// `nil` takes both.
    package let scheme: RouteScheme?
    /// Lower case, punycode, without the leading `*`.
    package let host: String
    package let hostHasWildcard: Bool
    /// As it stands in a request: percent-encoded, without the trailing `*`.
    package let path: String
    package let pathHasWildcard: Bool
    /// The more labels and path parts, the higher: `26 · labels + parts`, where a lone `*` in the first label, or
    /// the last part, takes two off.
    package let score: Int

    package var description: String { text }

    /// - Parameters:
    ///   - text: The pattern.
    ///   - target: The worker it's for; named in errors.
    package init(_ text: String, for target: String) throws(RoutePatternError) {
        func fail(_ problem: RoutePatternError.Problem) -> RoutePatternError {
            RoutePatternError(route: text, target: target, problem: problem)
        }
        var rest = text[...]
        if let separator = text.firstRange(ofText: "://") {
            switch text[..<separator.lowerBound].lowercased() {
            case "http": scheme = .http
            case "https": scheme = .https
            default: throw fail(.scheme)
            }
            rest = text[separator.upperBound...]
        } else {
            scheme = nil
        }
        guard !rest.contains("?") else { throw fail(.queryString) }
        guard !rest.contains("#") else { throw fail(.fragment) }
        guard
            !rest.unicodeScalars.contains(where: {
                $0.value < 0x20 || $0.value == 0x7F || $0 == " " || $0 == "\\"
            })
        else { throw fail(.character) }

        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        let writtenHost = rest[..<slash]
        let writtenPath = slash == rest.endIndex ? "/" : rest[slash...]
        hostHasWildcard = writtenHost.hasPrefix("*")
        pathHasWildcard = writtenPath.hasSuffix("*")
        let bareHost = hostHasWildcard ? writtenHost.dropFirst() : writtenHost
        let barePath = pathHasWildcard ? writtenPath.dropLast() : writtenPath
        guard !bareHost.contains("*"), !barePath.contains("*") else { throw fail(.infixWildcard) }
        guard !writtenHost.isEmpty else { throw fail(.host("it has no host")) }
        do {
            host = try RouteHostName.normalized(bareHost, isSuffix: hostHasWildcard)
        } catch {
            throw fail(error.problem)
        }
        path = Self.percentEncoded(barePath)
        self.text = text
        score =
            26 * Self.partScore(writtenHost, separator: ".", wildcardAtStart: true)
            + Self.partScore(writtenPath, separator: "/", wildcardAtStart: false)
    }

    /// All paths of the same host.
    package var wholeHost: RoutePattern? { try? RoutePattern((hostHasWildcard ? "*" : "") + host + "/*", for: text) }

    private static func partScore(_ text: Substring, separator: Character, wildcardAtStart: Bool) -> Int {
        // An address in brackets is one label.
        guard !text.hasPrefix("[") else { return 1 }
        let parts = text.split(separator: separator, omittingEmptySubsequences: false)
        let edge = wildcardAtStart ? parts.first : parts.last
        return parts.count - (edge == "*" ? 2 : 0)
    }

    /// What a client's URL parser leaves in a path stays; the rest is encoded as it would be.
    private static func percentEncoded(_ path: Substring) -> String {
        var encoded: [UInt8] = []
        for byte in path.utf8 {
            switch byte {
            case 0x21...0x7E where byte != 0x22 && byte != 0x3C && byte != 0x3E && byte != 0x60:
                encoded.append(byte)
            default:
                let digits = Array("0123456789ABCDEF".utf8)
                encoded += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// Whether some request would match both.
    package func overlaps(_ other: RoutePattern) -> Bool {
        if let scheme, let otherScheme = other.scheme, scheme != otherScheme { return false }
        return Self.overlap(
            Array(host.utf8.reversed()), hostHasWildcard, Array(other.host.utf8.reversed()),
            other.hostHasWildcard)
            && Self.overlap(Array(path.utf8), pathHasWildcard, Array(other.path.utf8), other.pathHasWildcard)
    }

    private static func overlap(_ left: [UInt8], _ leftIsOpen: Bool, _ right: [UInt8], _ rightIsOpen: Bool)
        -> Bool
    {
        switch (leftIsOpen, rightIsOpen) {
        case (false, false): left == right
        case (true, false): right.starts(with: left)
        case (false, true): left.starts(with: right)
        case (true, true): left.starts(with: right) || right.starts(with: left)
        }
    }

    /// Whether neither is more specific: the same score, the same length, and a request that matches both.
    package func ties(with other: RoutePattern) -> Bool {
        score == other.score && text.utf8.count == other.text.utf8.count
            && hostHasWildcard == other.hostHasWildcard && overlaps(other)
    }
}

/// The exact host name that a worker answers for, whatever the path.
package struct CustomDomain: Hashable, Sendable, CustomStringConvertible {
    /// Lower case, punycode.
    package let host: String
    package var description: String { host }

    package init(_ text: String, for target: String) throws(RoutePatternError) {
        func fail(_ problem: RoutePatternError.Problem) -> RoutePatternError {
            RoutePatternError(route: text, target: target, problem: problem)
        }
        guard !text.contains("*") else { throw fail(.customDomainWildcard) }
        guard !text.contains("/") else { throw fail(.customDomainPath) }
        guard !text.isEmpty else { throw fail(.host("it has no host")) }
        do {
            host = try RouteHostName.normalized(text[...], isSuffix: false)
        } catch {
            throw fail(error.problem)
        }
    }
}

/// Why a text is no route. The first four sentences are those that users know from `wrangler`.
package struct RoutePatternError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Problem: Equatable, Sendable {
        case infixWildcard
        case queryString
        case customDomainWildcard
        case customDomainPath
        case fragment
        case port
        case scheme
        case character
        case host(String)
    }
    package let route: String
    package let target: String
    package let problem: Problem

    package var description: String {
        switch problem {
        case .infixWildcard:
            "Route \"\(route)\" for \"\(target)\" contains an infix wildcard. This is not allowed."
        case .queryString:
            "Route \"\(route)\" for \"\(target)\" contains a query string. This is not allowed."
        case .customDomainWildcard: "Wildcard operators (*) are not allowed in Custom Domains"
        case .customDomainPath: "Paths are not allowed in Custom Domains"
        case .fragment: "Route \"\(route)\" for \"\(target)\" contains a fragment. This is not allowed."
        case .port: "Route \"\(route)\" for \"\(target)\" contains a port. This is not allowed."
        case .scheme: "Route \"\(route)\" for \"\(target)\" has a scheme other than http and https."
        case .character:
            "Route \"\(route)\" for \"\(target)\" contains a space, a backslash or a control character."
        case .host(let reason): "Route \"\(route)\" for \"\(target)\" names no valid host: \(reason)."
        }
    }

    /// What to write instead.
    package var fix: String {
        switch problem {
        case .infixWildcard: "a wildcard may stand only at the start of the host and at the end of the path"
        case .queryString: "match the path with a trailing *, and look at the query in the handler"
        case .customDomainWildcard: "name one exact host, or use a route pattern"
        case .customDomainPath: "name the host alone, or use a route pattern"
        case .fragment: "delete it: clients don't send fragments"
        case .port: "delete it: a pattern is matched on every port that the node listens on"
        case .scheme: "write http:// or https://, or neither for both"
        case .character: "percent-encode it"
        case .host: "write a name such as api.example.com"
        }
    }
}

extension String {
    fileprivate func firstRange(ofText text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
