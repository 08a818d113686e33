/// The rules of `_headers`: lines with a path, and below each what its answers get.
///
///     /static/*
///       Cache-Control: public, max-age=31556952
///       ! X-Robots-Tag
package struct AssetHeaderRules: Equatable, Sendable {
    private struct Rule: Equatable, Sendable {
        enum Change: Equatable, Sendable {
            case set(name: String, value: String)
            case remove(String)
        }
        /// `nil`: any.
        var host: PathPattern?
        var path: PathPattern
        var changes: [Change] = []
    }
    private var rules: [Rule] = []

    package static let rulesMax = 100
    package static let none = AssetHeaderRules()

    private init() {}

    /// - Parameter text: What `_headers` holds.
    package init(_ text: String) throws(RuleFileError) {
        let lines = try RuleLines("_headers", text)
        for line in lines.lines {
            if line.text.hasPrefix("/") || line.text.hasPrefix("https://") || line.text.hasPrefix("http://") {
                guard rules.count < Self.rulesMax else { throw lines.flaw(line, "more than \(Self.rulesMax) rules") }
                do throws(PathPattern.Flaw) { rules.append(try Self.rule(line.text)) } catch {
                    throw lines.flaw(line, "\(error)")
                }
                continue
            }
            guard !rules.isEmpty else { throw lines.flaw(line, "a header before the first path") }
            rules[rules.count - 1].changes.append(try Self.change(line, lines))
        }
    }

    private static func rule(_ text: String) throws(PathPattern.Flaw) -> Rule {
        guard !text.hasPrefix("/"), let (_, rest) = text.cut(at: "://") else {
            return Rule(host: nil, path: try PathPattern(AssetPath.decode(text)))
        }
        let slash = rest.utf8.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        let path = rest[slash...]
        return Rule(
            host: try PathPattern(rest[..<slash].lowercased(), separator: UInt8(ascii: ".")),
            path: try PathPattern(AssetPath.decode(path.isEmpty ? "/" : String(path))))
    }

    private static func change(_ line: RuleLines.Line, _ lines: RuleLines) throws(RuleFileError) -> Rule.Change {
        if line.text.hasPrefix("!") {
            let name = line.text.dropFirst().trimmed
            guard isName(name) else { throw lines.flaw(line, "expected the name of a header after \"!\"") }
            return .remove(name.lowercased())
        }
        guard let (name, value) = line.text.cut(at: ":"), isName(name.trimmed) else {
            throw lines.flaw(line, "expected a path, \"Name: value\" or \"! Name\"")
        }
        let lowered = name.trimmed.lowercased()
        guard !ofTheNode.contains(lowered) else {
            throw lines.flaw(line, "\(name.trimmed) is the node's own to say")
        }
        guard !value.trimmed.isEmpty else {
            throw lines.flaw(line, "\(name.trimmed) has no value; \"! \(name.trimmed)\" removes a header")
        }
        return .set(name: name.trimmed, value: value.trimmed)
    }

    /// What frames messages, or says something about the node.
    private static let ofTheNode: Set<String> = [
        "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "date", "server",
        "cf-ray", "content-range", "proxy-connection", "cf-cache-status",
    ]

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    package var count: Int { rules.count }

    /// What the rules make of an answer's headers: all that match, in their order.
    ///
    /// - Parameters:
    ///   - headers: The answer's own, which a rule replaces; what two rules set stands in one line, but for cookies.
    ///   - path: As `AssetPath.decode` gives it.
    package func apply(to headers: [AssetHeader], host: String, path: String) -> [AssetHeader] {
        guard !rules.isEmpty else { return headers }
        var headers = headers
        var isSet: Set<String> = []
        for rule in rules {
            var captures: [String: String] = [:]
            if let pattern = rule.host {
                guard let found = pattern.match(host.lowercased()) else { continue }
                captures = found
            }
            guard let found = rule.path.match(path) else { continue }
            captures.merge(found) { _, new in new }
            for change in rule.changes {
                switch change {
                case .remove(let name):
                    headers.removeAll { $0.name.lowercased() == name }
                case .set(let name, let value):
                    let value = PathPattern.fill(value, captures)
                    let lowered = name.lowercased()
                    if isSet.insert(lowered).inserted {
                        headers.removeAll { $0.name.lowercased() == lowered }
                        headers.append(AssetHeader(name, value))
                    } else if lowered != "set-cookie",
                        let index = headers.firstIndex(where: { $0.name.lowercased() == lowered })
                    {
                        headers[index].value += ", " + value
                    } else {
                        headers.append(AssetHeader(name, value))
                    }
                }
            }
        }
        return headers
    }
}

/// One line of an answer's head.
package struct AssetHeader: Equatable, Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

extension StringProtocol {
    var trimmed: String {
        var text = Substring(self).utf8
        while let byte = text.first, byte == 0x20 || byte == 0x09 { text = text.dropFirst() }
        while let byte = text.last, byte == 0x20 || byte == 0x09 { text = text.dropLast() }
        return String(decoding: Array(text), as: UTF8.self)
    }
}

extension String {
    /// What stands before and behind the first `mark`.
    func cut(at mark: String) -> (String, String)? {
        let (bytes, mark) = (Array(utf8), Array(mark.utf8))
        guard bytes.count >= mark.count else { return nil }
        for start in 0...(bytes.count - mark.count) where bytes[start..<(start + mark.count)].elementsEqual(mark) {
            return (
                String(decoding: bytes[..<start], as: UTF8.self),
                String(decoding: bytes[(start + mark.count)...], as: UTF8.self)
            )
        }
        return nil
    }
}
