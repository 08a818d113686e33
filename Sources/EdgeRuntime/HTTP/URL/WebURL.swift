/// A URL as browsers understand it (https://url.spec.whatwg.org): parsed once, always normalised, and equal
/// to another when both are written alike.
///
/// `http`, `https`, `ws`, `wss`, `ftp` and `file` follow the standard's rules for special schemes.
/// Internationalised names are encoded, but not normalised to NFC, and existing `xn--` labels are taken as
/// they are.
public struct WebURL: Sendable {
    /// The whole URL, ASCII only.
    public private(set) var href: String

    // Offsets in `href`. The parts follow one another:
    // scheme ":" [ "//" [ username [ ":" password ] "@" ] host [ ":" port ] ] path [ "?" query ] [ "#"
    // fragment ]
    private var schemeEnd: UInt32
    private var usernameStart: UInt32
    private var usernameEnd: UInt32
    private var hostStart: UInt32
    private var hostEnd: UInt32
    private var pathStart: UInt32
    private var queryStart: UInt32
    private var fragmentStart: UInt32
    private var hasHost: Bool
    private var hasOpaquePath: Bool
    /// `nil` when the URL names none, or its scheme's default.
    public private(set) var port: UInt16?

    /// Parses an absolute URL.
    ///
    /// - Returns: `nil` when the standard's parser fails.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        if let url = WebURL(normalized: text, bytes) {
            self = url
        } else {
            guard let record = URLParser.parse(bytes, base: nil) else { return nil }
            self.init(record)
        }
    }

    /// Parses a URL or a reference relative to `base`.
    public init?(_ text: String, base: WebURL) {
        guard let record = URLParser.parse(text.utf8, base: base.record) else { return nil }
        self.init(record)
    }

    // MARK: Parts

    /// Lower case, without the colon.
    public var scheme: String { part(0, schemeEnd) }
    /// Percent-encoded.
    public var username: String { part(usernameStart, usernameEnd) }
    /// Percent-encoded.
    public var password: String {
        // username ":" password "@"
        hostStart > usernameEnd + 1 ? part(usernameEnd + 1, hostStart - 1) : ""
    }
    /// Name or address without the port; an IPv6 address in brackets; empty when there is none.
    public var hostname: String { part(hostStart, hostEnd) }
    /// `hostname`, and the port when it isn't the scheme's default.
    public var host: String { part(hostStart, port == nil ? hostEnd : portEnd) }
    /// Percent-encoded; starts with `/` when the scheme is special.
    public var path: String {
        get { part(pathStart, queryStart) }
        set { change { URLParser.replacePath(of: &$0, with: newValue.utf8) } }
    }
    /// Percent-encoded, without the question mark; `nil` when there is no question mark.
    public var query: String? {
        get { queryStart < fragmentStart ? part(queryStart + 1, fragmentStart) : nil }
        set {
            change { record in
                record.query = newValue.map { text in
                    var query: [UInt8] = []
                    query.append(
                        contentsOf: text.utf8.lazy.filter { !$0.isTabOrNewline },
                        encoding: record.isSpecial ? .specialQuery : .query)
                    return query
                }
            }
        }
    }
    /// Percent-encoded, without the number sign; `nil` when there is none.
    public var fragment: String? {
        get {
            let count = UInt32(href.utf8.count)
            return fragmentStart < count ? part(fragmentStart + 1, count) : nil
        }
        set {
            change { record in
                record.fragment = newValue.map { text in
                    var fragment: [UInt8] = []
                    fragment.append(
                        contentsOf: text.utf8.lazy.filter { !$0.isTabOrNewline }, encoding: .fragment)
                    return fragment
                }
            }
        }
    }
    /// The query in pairs. Changing them writes the query anew; none left removes it.
    public var searchParameters: URLSearchParameters {
        get { URLSearchParameters(query ?? "") }
        set { query = newValue.isEmpty ? nil : newValue.description }
    }
    /// `scheme://host[:port]`; `null` for schemes that have no origin.
    public var origin: String {
        switch scheme {
        case "http", "https", "ws", "wss", "ftp": "\(scheme)://\(host)"
        default: "null"
        }
    }
    /// The port that a connection would use.
    public var effectivePort: UInt16? { port ?? URLRecord.defaultPort(scheme.utf8) }

    // MARK: Private parts

    private func part(_ start: UInt32, _ end: UInt32) -> String {
        guard start < end else { return "" }
        let utf8 = href.utf8
        let first = utf8.index(utf8.startIndex, offsetBy: Int(start))
        return String(Substring(utf8[first..<utf8.index(first, offsetBy: Int(end - start))]))
    }

    private var portEnd: UInt32 {
        guard let port else { return hostEnd }
        return hostEnd + 1 + UInt32(String(port).utf8.count)
    }

    private mutating func change(_ body: (inout URLRecord) -> Void) {
        var record = record
        body(&record)
        self = WebURL(record)
    }

    private init(_ url: URLRecord) {
        var text = url.scheme
        text.reserveCapacity(128)
        func here() -> UInt32 { UInt32(text.count) }
        schemeEnd = here()
        text.append(0x3A)
        hasHost = url.host != nil
        hasOpaquePath = false
        port = url.port
        if url.host != nil { text += "//".utf8 }
        usernameStart = here()
        text += url.username
        usernameEnd = here()
        if !url.password.isEmpty {
            text.append(0x3A)
            text += url.password
        }
        if !url.username.isEmpty || !url.password.isEmpty { text.append(0x40) }
        hostStart = here()
        text += url.host ?? []
        hostEnd = here()
        if let port {
            text.append(0x3A)
            text += String(port).utf8
        }
        switch url.path {
        case .opaque(let path):
            pathStart = here()
            hasOpaquePath = true
            text += path
        case .segments(let segments):
            // Without a host, a path that starts with two slashes would read as one.
            if url.host == nil, segments.count > 1, segments[0].isEmpty { text += "/.".utf8 }
            pathStart = here()
            for segment in segments {
                text.append(0x2F)
                text += segment
            }
        }
        queryStart = here()
        if let query = url.query {
            text.append(0x3F)
            text += query
        }
        fragmentStart = here()
        if let fragment = url.fragment {
            text.append(0x23)
            text += fragment
        }
        href = String(decoding: text, as: UTF8.self)
    }

    /// The parts, to be changed or resolved against.
    private var record: URLRecord {
        var record = URLRecord()
        record.scheme = Array(scheme.utf8)
        record.username = Array(username.utf8)
        record.password = Array(password.utf8)
        record.host = hasHost ? Array(hostname.utf8) : nil
        record.port = port
        let path = Array(self.path.utf8)
        if hasOpaquePath {
            record.path = .opaque(path)
        } else if path.isEmpty {
            record.path = .segments([])
        } else {
            record.path = .segments(
                path.dropFirst().split(separator: 0x2F, omittingEmptySubsequences: false).map { Array($0) })
        }
        record.query = query.map { Array($0.utf8) }
        record.fragment = fragment.map { Array($0.utf8) }
        return record
    }

    /// The short way for what nodes send to workers: an http URL that is normalised already is only measured.
    ///
    /// - Returns: `nil` when the long way has to decide.
    private init?(normalized text: String, _ bytes: [UInt8]) {
        // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives as long as the
        // array.
        let span = unsafe bytes.span.bytes
        let start: Int
        if span.holds("http://", at: 0) {
            start = 7
        } else if span.holds("https://", at: 0) {
            start = 8
        } else {
            return nil
        }
        guard let slash = bytes[start...].firstIndex(of: 0x2F),
            let authority = HostAndPort(span, ByteRange(offset: start, count: slash - start)),
            authority.isNormalized, authority.port != (start == 7 ? 80 : 443),
            span.endOfVisible(from: slash, to: bytes.count) == bytes.count,
            RequestPath.needsNormalizing(span, ByteRange(offset: slash, count: bytes.count - slash)) == false
        else { return nil }
        href = text
        schemeEnd = UInt32(start - 3)
        usernameStart = UInt32(start)
        usernameEnd = usernameStart
        hostStart = usernameStart
        hostEnd = UInt32(authority.name.end)
        pathStart = UInt32(slash)
        queryStart = UInt32(bytes[slash...].firstIndex(of: 0x3F) ?? bytes.count)
        fragmentStart = UInt32(bytes.count)
        hasHost = true
        hasOpaquePath = false
        port = authority.port
    }
}

extension WebURL: Hashable {
    public static func == (left: WebURL, right: WebURL) -> Bool { left.href == right.href }
    public func hash(into hasher: inout Hasher) { hasher.combine(href) }
}

extension WebURL: LosslessStringConvertible {
    public var description: String { href }
}
