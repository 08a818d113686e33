/// What a rule of `_headers` or `_redirects` is for: a path in which one `*` stands for anything, and `:name` for what is
/// between two slashes.
///
/// A part between slashes has one of them at most: then there is one way to match, found in the time of reading the path.
package struct PathPattern: Equatable, Sendable {
    private struct Part: Equatable, Sendable {
        var prefix: [UInt8]
        /// `nil`: the part is `prefix`, and nothing else.
        var capture: String?
        var suffix: [UInt8] = []
        /// Stands for anything, slashes as well.
        var isSplat = false

        func matches(_ part: ArraySlice<UInt8>) -> Bool {
            guard capture != nil else { return part.elementsEqual(prefix) }
            return part.count > prefix.count + suffix.count && part.starts(with: prefix)
                && part.suffix(suffix.count).elementsEqual(suffix)
        }

        func captured(_ part: ArraySlice<UInt8>) -> String {
            String(decoding: part.dropFirst(prefix.count).dropLast(suffix.count), as: UTF8.self)
        }
    }

    /// As it was written.
    package let text: String
    private var head: [Part] = []
    private var splat: Part?
    private var tail: [Part] = []
    private let separator: UInt8

    package enum Flaw: Error, Equatable, Sendable, CustomStringConvertible {
        case severalSplats
        case severalInOnePart
        case nameTwice(String)

        package var description: String {
            switch self {
            case .severalSplats: "\"*\" may stand once in a rule"
            case .severalInOnePart: "between two slashes may stand one \"*\" or one \":name\""
            case .nameTwice(let name): "\":\(name)\" stands twice"
            }
        }
    }

    /// - Parameter separator: What ends a `:name`: a slash in paths, a dot in hosts.
    package init(_ text: String, separator: UInt8 = UInt8(ascii: "/")) throws(Flaw) {
        self.text = text
        self.separator = separator
        var names: Set<String> = []
        for bytes in Array(text.utf8).split(separator: separator, omittingEmptySubsequences: false) {
            let part = try Self.part(Array(bytes))
            if let name = part.capture, !names.insert(name).inserted {
                throw part.isSplat && splat != nil ? Flaw.severalSplats : .nameTwice(name)
            }
            if part.isSplat {
                splat = part
            } else if splat == nil {
                head.append(part)
            } else {
                tail.append(part)
            }
        }
    }

    package static let splatName = "splat"

    private static func part(_ bytes: [UInt8]) throws(Flaw) -> Part {
        var part: Part?
        var text: [UInt8] = []
        var index = 0
        while index < bytes.count {
            var name: String?
            var next = index + 1
            let isSplat = bytes[index] == UInt8(ascii: "*")
            if isSplat {
                name = splatName
            } else if bytes[index] == UInt8(ascii: ":"), next < bytes.count, isLetter(bytes[next]) {
                while next < bytes.count, isLetter(bytes[next]) || isDigit(bytes[next]) || bytes[next] == UInt8(ascii: "_") {
                    next += 1
                }
                name = String(decoding: bytes[(index + 1)..<next], as: UTF8.self)
            }
            if let name {
                if let part { throw part.isSplat && isSplat ? .severalSplats : .severalInOnePart }
                part = Part(prefix: text, capture: name, isSplat: isSplat)
                text = []
            } else {
                text.append(bytes[index])
            }
            index = next
        }
        guard var part else { return Part(prefix: text) }
        part.suffix = text
        return part
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    /// Whether more than one path matches.
    package var isDynamic: Bool { splat != nil || head.contains { $0.capture != nil } }

    /// - Returns: what `:name`s and, under the name `splat`, `*` stand for; `nil` when `path` doesn't match.
    package func match(_ path: String) -> [String: String]? {
        let parts = Array(path.utf8).split(separator: separator, omittingEmptySubsequences: false)
        guard splat == nil ? parts.count == head.count : parts.count > head.count + tail.count else { return nil }
        var captures: [String: String] = [:]
        func take(_ patterns: [Part], _ parts: ArraySlice<ArraySlice<UInt8>>) -> Bool {
            for (pattern, part) in zip(patterns, parts) {
                guard pattern.matches(part) else { return false }
                if let name = pattern.capture { captures[name] = pattern.captured(part) }
            }
            return true
        }
        guard take(head, parts.prefix(head.count)), take(tail, parts.suffix(tail.count)) else { return nil }
        guard let splat else { return captures }
        let middle = Array(parts[head.count..<(parts.count - tail.count)].joined(separator: [separator]))[...]
        // Unlike a name it may stand for nothing.
        guard middle.count >= splat.prefix.count + splat.suffix.count, middle.starts(with: splat.prefix),
            middle.suffix(splat.suffix.count).elementsEqual(splat.suffix)
        else { return nil }
        captures[Self.splatName] = splat.captured(middle)
        return captures
    }

    /// `template` with each `:name` that is known replaced. What comes from a path is escaped as in a path, so that nothing
    /// can come out of it that ends a header or leads to another host.
    package static func fill(_ template: String, _ captures: [String: String]) -> String {
        guard !captures.isEmpty else { return template }
        let bytes = Array(template.utf8)
        var filled = ""
        var index = 0
        var start = 0
        while index < bytes.count {
            var next = index + 1
            guard bytes[index] == UInt8(ascii: ":"), next < bytes.count, isLetter(bytes[next]) else {
                index = next
                continue
            }
            while next < bytes.count, isLetter(bytes[next]) || isDigit(bytes[next]) || bytes[next] == UInt8(ascii: "_") {
                next += 1
            }
            if let value = captures[String(decoding: bytes[(index + 1)..<next], as: UTF8.self)] {
                filled += String(decoding: bytes[start..<index], as: UTF8.self) + AssetPath.encode(value)
                start = next
            }
            index = next
        }
        return filled + String(decoding: bytes[start...], as: UTF8.self)
    }
}
