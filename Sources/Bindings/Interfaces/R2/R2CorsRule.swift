/// Which pages of other origins may use a bucket over HTTP (spec: r2, section 5), as the REST API shows it.
package struct R2CorsRule: Codable, Equatable, Sendable {
    package struct Allowed: Codable, Equatable, Sendable {
        /// `GET`, `PUT`, `POST`, `DELETE`, `HEAD`.
        package var methods: [String]
        /// `https://example.com`, with at most one `*` in it; `*` alone is every origin.
        package var origins: [String]
        /// Names of headers, in any case, with at most one `*` each.
        package var headers: [String]?

        package init(methods: [String], origins: [String], headers: [String]? = nil) {
            self.methods = methods
            self.origins = origins
            self.headers = headers
        }
    }

    package var allowed: Allowed
    package var id: String?
    /// What scripts may read of an answer.
    package var exposeHeaders: [String]?
    /// How long a browser may remember the answer of a preflight.
    package var maxAgeSeconds: Int64?

    package init(allowed: Allowed, id: String? = nil, exposeHeaders: [String]? = nil, maxAgeSeconds: Int64? = nil) {
        self.allowed = allowed
        self.id = id
        self.exposeHeaders = exposeHeaders
        self.maxAgeSeconds = maxAgeSeconds
    }

    /// Of a bucket.
    package static let countMax = 100
    package static let methods = ["GET", "PUT", "POST", "DELETE", "HEAD"]
    private static let maxAgeSecondsMax: Int64 = 86_400
    private static let itemsMax = 100

    package static func check(_ rules: [R2CorsRule]) throws(R2Failure) {
        guard rules.count <= countMax else {
            throw .invalidRules("a bucket has at most \(countMax) CORS rules, not \(rules.count)")
        }
        for (index, rule) in rules.enumerated() { try rule.check("CORS rule \(rule.id.map { "\"\($0)\"" } ?? "\(index)")") }
    }

    private func check(_ title: String) throws(R2Failure) {
        func fail(_ reason: String) throws(R2Failure) -> Never { throw .invalidRules("\(title): \(reason)") }
        guard !allowed.methods.isEmpty else { try fail("allowed.methods is empty") }
        for method in allowed.methods where !Self.methods.contains(method) {
            try fail("a method is one of \(Self.methods.joined(separator: ", ")), not \"\(method)\"")
        }
        guard !allowed.origins.isEmpty else { try fail("allowed.origins is empty") }
        for origin in allowed.origins where !Self.isOrigin(origin) {
            try fail("\"\(origin)\" is no origin: scheme, host and port without a path, as https://example.com, or *")
        }
        let names = (allowed.headers ?? []) + (exposeHeaders ?? [])
        for name in names where !Self.isHeaderName(name) { try fail("\"\(name)\" is no name of a header") }
        guard max(allowed.methods.count, allowed.origins.count, names.count) <= Self.itemsMax else {
            try fail("at most \(Self.itemsMax) methods, origins and headers")
        }
        if let maxAgeSeconds, !(0...Self.maxAgeSecondsMax).contains(maxAgeSeconds) {
            try fail("maxAgeSeconds is a number from 0 to \(Self.maxAgeSecondsMax), not \(maxAgeSeconds)")
        }
        if let id, !(1...R2RuleLimits.idBytesMax).contains(id.utf8.count) {
            try fail("an id has 1 to \(R2RuleLimits.idBytesMax) bytes")
        }
    }

    private static func isOrigin(_ text: String) -> Bool {
        if text == "*" { return true }
        guard let colon = text.firstRange(of: "://"), colon.lowerBound > text.startIndex,
            text.utf8.count(where: { $0 == UInt8(ascii: "*") }) <= 1
        else { return false }
        let host = text[colon.upperBound...].utf8
        return !host.isEmpty && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            && !host.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
    }

    private static func isHeaderName(_ text: String) -> Bool {
        let marks = Array("!#$%&'*+-.^_`|~".utf8)
        return !text.isEmpty && text.utf8.count(where: { $0 == UInt8(ascii: "*") }) <= 1
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: marks.contains(byte)
                }
            }
    }

    // MARK: Matching

    /// Whether a page of `origin` may send a request of this method with these headers (lower case).
    package func allows(origin: String, method: String, headers: [String] = []) -> Bool {
        let patterns = (allowed.headers ?? []).map { $0.lowercased() }
        return allowed.methods.contains(method) && allowed.origins.contains { Self.matches($0, origin) }
            && headers.allSatisfy { header in patterns.contains { Self.matches($0, header) } }
    }

    /// A `*` stands for any text.
    private static func matches(_ pattern: String, _ text: String) -> Bool {
        let halves = pattern.utf8.split(separator: UInt8(ascii: "*"), maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2 else { return pattern.utf8.elementsEqual(text.utf8) }
        return text.utf8.count >= halves[0].count + halves[1].count && text.utf8.starts(with: halves[0])
            && text.utf8.suffix(halves[1].count).elementsEqual(halves[1])
    }
}

package struct R2CorsRules: Codable, Equatable, Sendable {
    package var rules: [R2CorsRule]

    package init(_ rules: [R2CorsRule]) { self.rules = rules }

    /// Reads and checks what a client sent.
    package init(json: [UInt8]) throws(R2Failure) {
        self = try R2JSON.decode(json)
        try R2CorsRule.check(rules)
    }
}
