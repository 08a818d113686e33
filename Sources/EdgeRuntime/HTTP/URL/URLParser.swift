/// The basic URL parser (https://url.spec.whatwg.org/#concept-basic-url-parser), its states as functions that
/// read on from `rest`.
struct URLParser {
    private var url = URLRecord()
    private var rest: ArraySlice<UInt8>
    private let base: URLRecord?

    /// - Returns: `nil` on failure.
    static func parse(_ input: some Sequence<UInt8>, base: URLRecord?) -> URLRecord? {
        var bytes = Array(input)[...]
        while let byte = bytes.first, byte <= 0x20 { bytes.removeFirst() }
        while let byte = bytes.last, byte <= 0x20 { bytes.removeLast() }
        if bytes.contains(where: \.isTabOrNewline) { bytes = bytes.filter { !$0.isTabOrNewline }[...] }
        var parser = URLParser(rest: bytes, base: base)
        return parser.parseAll() ? parser.url : nil
    }

    /// Gives `record` the path in `input`, which can't reach beyond the path: `?` and `#` are encoded.
    static func replacePath(of record: inout URLRecord, with input: some Sequence<UInt8>) {
        guard case .segments = record.path else { return }
        var bytes: [UInt8] = []
        for byte in input where !byte.isTabOrNewline {
            if byte == 0x3F || byte == 0x23 {
                bytes.append(byte, encoding: .component)
            } else {
                bytes.append(byte)
            }
        }
        let query = record.query
        record.path = .segments([])
        record.query = nil
        var parser = URLParser(rest: bytes[...], base: nil)
        parser.url = record
        _ = parser.parsePath()
        record = parser.url
        record.query = query
    }

    private init(rest: ArraySlice<UInt8>, base: URLRecord?) {
        self.rest = rest
        self.base = base
    }

    private mutating func parseAll() -> Bool {
        takeFragment()
        guard takeScheme() else { return parseWithoutScheme() }
        if url.isFile { return parseFile() }
        if url.isSpecial {
            if let base, base.scheme == url.scheme, !(startsWithSlash && rest.dropFirst().first == 0x2F) {
                return parseRelative(to: base)
            }
            return parseAuthorityBehindSlashes()
        }
        if startsWithSlash {
            if rest.dropFirst().first == 0x2F {
                rest.removeFirst(2)
                return parseAuthority()
            }
            return parsePath()
        }
        return parseOpaquePath()
    }

    /// A fragment starts at the first `#`, whatever is in front.
    private mutating func takeFragment() {
        guard let hash = rest.firstIndex(of: 0x23) else { return }
        var fragment: [UInt8] = []
        fragment.append(contentsOf: rest[(hash + 1)...], encoding: .fragment)
        url.fragment = fragment
        rest = rest[..<hash]
    }

    private mutating func takeScheme() -> Bool {
        guard let first = rest.first, first.isASCIILetter,
            let colon = rest.firstIndex(where: { !$0.isSchemeByte }), rest[colon] == 0x3A
        else { return false }
        url.scheme = rest[..<colon].map(\.asciiLowercased)
        rest = rest[(colon + 1)...]
        return true
    }

    private mutating func parseWithoutScheme() -> Bool {
        guard let base else { return false }
        if case .opaque = base.path {
            guard rest.isEmpty, url.fragment != nil else { return false }
            let fragment = url.fragment
            url = base
            url.fragment = fragment
            return true
        }
        url.scheme = base.scheme
        return base.isFile ? parseFile() : parseRelative(to: base)
    }

    // MARK: Relative references

    private mutating func parseRelative(to base: URLRecord) -> Bool {
        if startsWithSlash {
            let second = rest.dropFirst().first
            if second == 0x2F || url.isSpecial && second == 0x5C {
                if url.isSpecial { return parseAuthorityBehindSlashes() }
                rest.removeFirst(2)
                return parseAuthority()
            }
            copyAuthority(base)
            return parsePath()
        }
        copyAuthority(base)
        url.path = base.path
        if rest.isEmpty {
            url.query = base.query
            return true
        }
        if rest.first == 0x3F { return parseQuery() }
        url.shortenPath()
        return parsePath()
    }

    private mutating func copyAuthority(_ base: URLRecord) {
        url.username = base.username
        url.password = base.password
        url.host = base.host
        url.port = base.port
    }

    // MARK: Files

    private mutating func parseFile() -> Bool {
        url.host = []
        let fileBase = base.flatMap { $0.isFile ? $0 : nil }
        if startsWithSlash {
            let second = rest.dropFirst().first
            if second == 0x2F || second == 0x5C {
                rest.removeFirst(2)
                return parseFileHost()
            }
            if let fileBase {
                url.host = fileBase.host
                if !URLRecord.startsWithDriveLetter(rest.dropFirst()),
                    case .segments(let segments) = fileBase.path,
                    let first = segments.first, URLRecord.isDriveLetter(first[...]), first[1] == 0x3A
                {
                    url.appendSegment(first)
                }
            }
            return parsePath()
        }
        guard let fileBase else { return parsePath() }
        url.host = fileBase.host
        url.path = fileBase.path
        if rest.isEmpty {
            url.query = fileBase.query
            return true
        }
        if rest.first == 0x3F { return parseQuery() }
        if URLRecord.startsWithDriveLetter(rest) {
            url.path = .segments([])
        } else {
            url.shortenPath()
        }
        return parsePath()
    }

    private mutating func parseFileHost() -> Bool {
        let end = rest.firstIndex { $0 == 0x2F || $0 == 0x5C || $0 == 0x3F } ?? rest.endIndex
        let name = rest[..<end]
        if URLRecord.isDriveLetter(name) { return parsePath() }
        if !name.isEmpty {
            guard let host = URLHost.parse(name, isSpecial: true) else { return false }
            url.host = host.elementsEqual("localhost".utf8) ? [] : host
        }
        rest = rest[end...]
        return parsePath()
    }

    // MARK: Authority

    private mutating func parseAuthorityBehindSlashes() -> Bool {
        while startsWithSlash { rest.removeFirst() }
        return parseAuthority()
    }

    private mutating func parseAuthority() -> Bool {
        let isSpecial = url.isSpecial
        let end = rest.firstIndex { $0 == 0x2F || $0 == 0x3F || isSpecial && $0 == 0x5C } ?? rest.endIndex
        var authority = rest[..<end]
        rest = rest[end...]
        if let at = authority.lastIndex(of: 0x40) {
            let userinfo = authority[..<at]
            authority = authority[(at + 1)...]
            guard !authority.isEmpty else { return false }
            let colon = userinfo.firstIndex(of: 0x3A)
            url.username.append(contentsOf: userinfo[..<(colon ?? at)], encoding: .userinfo)
            if let colon { url.password.append(contentsOf: userinfo[(colon + 1)...], encoding: .userinfo) }
        }
        var isInBrackets = false
        let colon = authority.firstIndex { byte in
            if byte == 0x5B { isInBrackets = true } else if byte == 0x5D { isInBrackets = false }
            return byte == 0x3A && !isInBrackets
        }
        let name = authority[..<(colon ?? authority.endIndex)]
        if name.isEmpty {
            guard !isSpecial, colon == nil, url.username.isEmpty, url.password.isEmpty else { return false }
            url.host = []
        } else {
            guard let host = URLHost.parse(name, isSpecial: isSpecial) else { return false }
            url.host = host
        }
        if let colon {
            guard let port = Self.parsePort(authority[(colon + 1)...]) else { return false }
            url.port = port == URLRecord.defaultPort(url.scheme) ? nil : port
        }
        return parsePath()
    }

    /// - Returns: `nil` on failure, `.some(nil)` for an empty port.
    static func parsePort(_ digits: ArraySlice<UInt8>) -> UInt16?? {
        guard !digits.isEmpty else { return .some(nil) }
        var port: UInt32 = 0
        for byte in digits {
            guard byte.isDigit else { return nil }
            port = min(port * 10 + UInt32(byte &- 0x30), 1 << 20)
        }
        return UInt16(exactly: port).map { .some($0) }
    }

    // MARK: Path and query

    private mutating func parseOpaquePath() -> Bool {
        let end = rest.firstIndex(of: 0x3F) ?? rest.endIndex
        var path: [UInt8] = []
        path.append(contentsOf: rest[..<end], encoding: .c0Control)
        // A space in front of what follows would be lost when the rest is removed.
        if path.last == 0x20, end != rest.endIndex || url.fragment != nil {
            path.removeLast()
            path += "%20".utf8
        }
        url.path = .opaque(path)
        rest = rest[end...]
        return parseQuery()
    }

    /// Reads the path from here on, behind the segments that the URL has.
    private mutating func parsePath() -> Bool {
        let isSpecial = url.isSpecial
        let end = rest.firstIndex(of: 0x3F) ?? rest.endIndex
        var text = rest[..<end]
        rest = rest[end...]
        guard isSpecial || !text.isEmpty else { return parseQuery() }
        if let first = text.first, first == 0x2F || isSpecial && first == 0x5C { text.removeFirst() }
        while true {
            let slash = text.firstIndex { $0 == 0x2F || isSpecial && $0 == 0x5C }
            takeSegment(text[..<(slash ?? text.endIndex)], isLast: slash == nil)
            guard let slash else { return parseQuery() }
            text = text[(slash + 1)...]
        }
    }

    private mutating func takeSegment(_ raw: ArraySlice<UInt8>, isLast: Bool) {
        switch Self.dots(raw) {
        case 2:
            url.shortenPath()
            if isLast { url.appendSegment([]) }
        case 1: if isLast { url.appendSegment([]) }
        default:
            var segment: [UInt8] = []
            segment.reserveCapacity(raw.count)
            segment.append(contentsOf: raw, encoding: .path)
            if url.isFile, url.pathIsEmpty, URLRecord.isDriveLetter(segment[...]) { segment[1] = 0x3A }
            url.appendSegment(segment)
        }
    }

    /// How many dots, each plain or as `%2e`, the segment consists of; 0 when it holds anything else.
    private static func dots(_ segment: ArraySlice<UInt8>) -> Int {
        var rest = segment
        var count = 0
        while let byte = rest.popFirst() {
            if byte != 0x2E {
                guard byte == 0x25, rest.popFirst() == 0x32, let last = rest.popFirst(), last | 0x20 == 0x65
                else {
                    return 0
                }
            }
            count += 1
            guard count <= 2 else { return 0 }
        }
        return count
    }

    private mutating func parseQuery() -> Bool {
        guard rest.first == 0x3F else { return true }
        var query: [UInt8] = []
        query.append(contentsOf: rest.dropFirst(), encoding: url.isSpecial ? .specialQuery : .query)
        url.query = query
        rest = []
        return true
    }

    /// Whether a `/` is next, or a `\` where that means the same.
    private var startsWithSlash: Bool { rest.first == 0x2F || url.isSpecial && rest.first == 0x5C }
}

extension UInt8 {
    var isTabOrNewline: Bool { self == 0x09 || self == 0x0A || self == 0x0D }
    fileprivate var isSchemeByte: Bool {
        isASCIILetter || isDigit || self == 0x2B || self == 0x2D || self == 0x2E
    }
}
