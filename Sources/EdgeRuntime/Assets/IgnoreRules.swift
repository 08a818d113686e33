/// Which files of a directory are no assets: `.assetsignore`, written like `.gitignore`
/// (https://git-scm.com/docs/gitignore#_pattern_format), and a few that never should be.
package struct IgnoreRules: Sendable {
    private struct Rule: Sendable {
        /// Between slashes.
        var parts: [[UInt8]]
        /// Takes back what an earlier rule said.
        var isNegated: Bool
        var isForDirectories: Bool
    }
    private var rules: [Rule] = []

    /// What steers the assets is none itself. Secrets and histories are served to nobody by accident, only by a rule with `!`.
    package static let builtIn = [
        "/.assetsignore", "/_headers", "/_redirects", ".dev.vars*", ".env*", ".git", ".DS_Store",
    ]

    /// - Parameter text: What `.assetsignore` holds.
    package init(_ text: String = "") {
        let lines = text.utf8.split(separator: 0x0A).map { String(decoding: Array($0), as: UTF8.self) }
        for line in Self.builtIn + lines { if let rule = Self.rule(line) { rules.append(rule) } }
    }

    private static func rule(_ line: String) -> Rule? {
        var bytes = Array(line.utf8)[...]
        if bytes.last == 0x0D { bytes = bytes.dropLast() }
        // Blanks at the end don't count, unless one is quoted.
        while let byte = bytes.last, byte == 0x20 || byte == 0x09, bytes.dropLast().last != UInt8(ascii: "\\") {
            bytes = bytes.dropLast()
        }
        guard let first = bytes.first, first != UInt8(ascii: "#") else { return nil }
        let isNegated = first == UInt8(ascii: "!")
        if isNegated { bytes = bytes.dropFirst() }
        let isForDirectories = bytes.last == UInt8(ascii: "/")
        if isForDirectories { bytes = bytes.dropLast() }
        // A slash anywhere but at the end ties the rule to the directory's top.
        let isAnchored = bytes.contains(UInt8(ascii: "/"))
        if bytes.first == UInt8(ascii: "/") { bytes = bytes.dropFirst() }
        guard !bytes.isEmpty else { return nil }
        var parts = bytes.split(separator: UInt8(ascii: "/")).map { Array($0) }
        if !isAnchored { parts.insert(Array("**".utf8), at: 0) }
        return Rule(parts: parts, isNegated: isNegated, isForDirectories: isForDirectories)
    }

    /// Whether the rules leave out a file or directory itself; what lies in a directory that is left out isn't asked for.
    ///
    /// - Parameter path: Relative to the assets' directory, without a slash in front.
    package func ignores(_ path: String, isDirectory: Bool) -> Bool {
        let parts = path.utf8.split(separator: UInt8(ascii: "/")).map { Array($0) }
        var isIgnored = false
        for rule in rules where rule.isNegated == isIgnored && (isDirectory || !rule.isForDirectories) {
            if Self.matches(rule.parts[...], parts[...]) { isIgnored = !rule.isNegated }
        }
        return isIgnored
    }

    /// `**` stands for any number of parts; at the end, for one at least.
    private static func matches(_ rule: ArraySlice<[UInt8]>, _ path: ArraySlice<[UInt8]>) -> Bool {
        // Which rests of `rule` the path so far may go on with; a set, so that no rule takes more than rules × parts steps.
        var states: Set<Int> = [rule.startIndex]
        func close(_ states: inout Set<Int>) {
            for index in rule.indices
            where states.contains(index) && rule[index].elementsEqual("**".utf8) && index + 1 < rule.endIndex {
                states.insert(index + 1)
            }
        }
        close(&states)
        for part in path {
            var next: Set<Int> = []
            for index in states where index < rule.endIndex {
                if rule[index].elementsEqual("**".utf8) {
                    next.insert(index)
                    if index + 1 == rule.endIndex { next.insert(rule.endIndex) }
                } else if WildcardName.matches(rule[index], part) {
                    next.insert(index + 1)
                }
            }
            close(&next)
            states = next
        }
        return states.contains(rule.endIndex)
    }
}

/// One name in an ignore rule: `*`, `?`, `[a-z]`, `\` before what is meant as it stands.
private enum WildcardName {
    static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        var (position, index) = (0, 0)
        var star: (pattern: Int, text: Int)?
        while index < name.count {
            if position < pattern.count, pattern[position] == UInt8(ascii: "*") {
                star = (position, index)
                position += 1
            } else if let next = step(pattern, position, name[index]) {
                position = next
                index += 1
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                position = last.pattern + 1
                index = last.text + 1
            } else {
                return false
            }
        }
        return pattern[position...].allSatisfy { $0 == UInt8(ascii: "*") }
    }

    /// Where the pattern goes on behind what `byte` matches.
    private static func step(_ pattern: [UInt8], _ position: Int, _ byte: UInt8) -> Int? {
        guard position < pattern.count else { return nil }
        switch pattern[position] {
        case UInt8(ascii: "?"): return position + 1
        case UInt8(ascii: "\\") where position + 1 < pattern.count: return pattern[position + 1] == byte ? position + 2 : nil
        case UInt8(ascii: "["):
            guard let end = pattern[(position + 1)...].dropFirst().firstIndex(of: UInt8(ascii: "]")) else { break }
            var members = pattern[(position + 1)..<end]
            let isNegated = members.first == UInt8(ascii: "!") || members.first == UInt8(ascii: "^")
            if isNegated { members = members.dropFirst() }
            var isMember = false
            while let low = members.popFirst() {
                if members.first == UInt8(ascii: "-"), members.count > 1 {
                    members = members.dropFirst()
                    if let high = members.popFirst(), low <= byte, byte <= high { isMember = true }
                } else if low == byte {
                    isMember = true
                }
            }
            return isMember != isNegated ? end + 1 : nil
        default: break
        }
        return pattern[position] == byte ? position + 1 : nil
    }
}
