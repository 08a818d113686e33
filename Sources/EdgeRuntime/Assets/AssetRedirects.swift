/// The rules of `_redirects`: `SOURCE TARGET [STATUS]`, one a line. Those without `*` and `:name` come first, then the others in
/// their order; the first that matches counts.
package struct AssetRedirects: Equatable, Sendable {
    package enum Outcome: Equatable, Sendable {
        /// A path with or without a query, or a whole URL.
        case redirect(String, status: Int)
        /// Another path answers, and the client doesn't learn of it.
        case rewrite(String)
    }
    private struct Target: Equatable, Sendable {
        var text: String
        var status: Int
    }
    /// By the bytes of the path: strings that look alike are two paths.
    private var fixed: [[UInt8]: Target] = [:]
    private var patterns: [(pattern: PathPattern, target: Target)] = []

    package static let fixedMax = 2000
    package static let patternsMax = 100
    package static let none = AssetRedirects()

    package static func == (left: Self, right: Self) -> Bool {
        left.fixed == right.fixed && left.patterns.map(\.pattern) == right.patterns.map(\.pattern)
            && left.patterns.map(\.target) == right.patterns.map(\.target)
    }

    private init() {}

    /// - Parameter text: What `_redirects` holds.
    package init(_ text: String) throws(RuleFileError) {
        let lines = try RuleLines("_redirects", text)
        var fixedCount = 0
        for line in lines.lines {
            let words = line.text.utf8.split { $0 == 0x20 || $0 == 0x09 }.map { String(decoding: Array($0), as: UTF8.self) }
            guard (2...3).contains(words.count) else {
                throw lines.flaw(line, "expected SOURCE TARGET [STATUS], got \(words.count) words")
            }
            let status = words.count == 3 ? Int(words[2]) : 302
            guard let status, [200, 301, 302, 303, 307, 308].contains(status) else {
                throw lines.flaw(line, "a status is 200, 301, 302, 303, 307 or 308, got \(words[2])")
            }
            if let reason = Self.flaw(source: words[0], target: words[1], status) { throw lines.flaw(line, reason) }
            let pattern: PathPattern
            do throws(PathPattern.Flaw) { pattern = try PathPattern(AssetPath.decode(Self.withoutQuery(words[0]))) } catch {
                throw lines.flaw(line, "\(error)")
            }
            let target = Target(text: Self.escaped(words[1]), status: status)
            if pattern.isDynamic {
                guard patterns.count < Self.patternsMax else {
                    throw lines.flaw(line, "more than \(Self.patternsMax) rules with \"*\" or \":name\"")
                }
                patterns.append((pattern, target))
            } else {
                fixedCount += 1
                guard fixedCount <= Self.fixedMax else {
                    throw lines.flaw(line, "more than \(Self.fixedMax) rules without \"*\" and \":name\"")
                }
                let path = Array(pattern.text.utf8)
                if fixed[path] == nil { fixed[path] = target }
            }
        }
    }

    private static func flaw(source: String, target: String, _ status: Int) -> String? {
        guard source.hasPrefix("/") else { return "a source begins with \"/\", got \(source)" }
        let isRelative = target.hasPrefix("/") && !target.hasPrefix("//")
        guard isRelative || target.hasPrefix("https://") || target.hasPrefix("http://") else {
            return "a target begins with \"/\", \"https://\" or \"http://\", got \(target)"
        }
        guard isRelative || status != 200 else { return "a rewrite (200) leads to a path of this site, got \(target)" }
        let path = withoutQuery(target)
        if isRelative, source.hasSuffix("/*") || source.hasSuffix("/"),
            path.hasSuffix("/index.html") || path.hasSuffix("/index")
        {
            return "this rule leads back to itself: \(path) is served without its last part, which the rule matches again; "
                + "for an application of one page, use not_found = \"single-page-application\""
        }
        if isRelative, AssetPath.decode(withoutQuery(source)) == AssetPath.decode(path), !source.contains("*") {
            return "this rule leads to itself"
        }
        return nil
    }

    private static func withoutQuery(_ text: String) -> String {
        String(decoding: Array(text.utf8.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }), as: UTF8.self)
    }

    /// A header is ASCII: what isn't is escaped as a URL would have it.
    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for byte in text.utf8 {
            if byte < 0x80 {
                escaped.unicodeScalars.append(UnicodeScalar(byte))
            } else {
                escaped += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return escaped
    }

    package var isEmpty: Bool { fixed.isEmpty && patterns.isEmpty }

    /// - Parameters:
    ///   - path: As `AssetPath.decode` gives it.
    ///   - query: With its question mark, or empty; goes along where the rule has none.
    package func match(_ path: String, query: String) -> Outcome? {
        if !fixed.isEmpty, let target = fixed[Array(path.utf8)] { return Self.outcome(target, [:], query) }
        for (pattern, target) in patterns {
            if let captures = pattern.match(path) { return Self.outcome(target, captures, query) }
        }
        return nil
    }

    private static func outcome(_ target: Target, _ captures: [String: String], _ query: String) -> Outcome {
        let text = PathPattern.fill(target.text, captures)
        guard target.status != 200 else { return .rewrite(withoutQuery(text)) }
        guard !query.isEmpty, !text.utf8.contains(UInt8(ascii: "?")) else { return .redirect(text, status: target.status) }
        let (before, fragment) = text.cut(at: "#") ?? (text, "")
        return .redirect(before + query + (fragment.isEmpty ? "" : "#" + fragment), status: target.status)
    }
}
