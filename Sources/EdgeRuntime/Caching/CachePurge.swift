/// What is to go from the cache. Each part alone is enough for a response to go.
package struct CachePurge: Equatable, Sendable {
    package var everything = false
    /// Only of this zone; `nil`: of all that the tenant has.
    package var zone: String?
    /// Compared as `CacheKey.text` has them.
    package var urls: Set<String> = []
    package var tags: Set<String> = []
    package var hosts: Set<String> = []
    /// `host/path`, without a scheme; ends where a part of the path does.
    package var prefixes: [String] = []

    package init() {}

    package func covers(_ response: StoredResponse) -> Bool {
        guard response.key.scope.isPurged, isOfZone(response) else { return false }
        if everything || urls.contains(response.url) { return true }
        // In any case, as the product compares them.
        if !tags.isEmpty, response.tags.contains(where: { tags.contains($0.lowercased()) }) { return true }
        guard !hosts.isEmpty || !prefixes.isEmpty, let colon = response.url.utf8.firstIndex(of: 0x3A) else { return false }
        let rest = Substring(response.url.utf8[colon...].dropFirst(3))  // Behind `://`.
        let host = rest.prefix { $0 != "/" && $0 != "?" }
        if hosts.contains(String(host)) { return true }
        return prefixes.contains { Self.starts(rest, with: $0) }
    }

    private func isOfZone(_ response: StoredResponse) -> Bool { zone.map { response.zone == $0 } ?? true }

    private static func starts(_ text: Substring, with prefix: String) -> Bool {
        guard text.utf8.starts(with: prefix.utf8) else { return false }
        if prefix.hasSuffix("/") { return true }
        let next = text.utf8.dropFirst(prefix.utf8.count).first
        return next == nil || next == 0x2F || next == 0x3F
    }
}

/// The tags of a response, as `Cache-Tag` gives them.
package enum CacheTags {
    /// In all, of one response (the product's limits).
    package static let countMax = 1000
    package static let byteCountMax = 1024

    package static func parse(_ text: String) -> [String] {
        text.split(separator: ",").prefix(countMax).compactMap { part in
            let tag = part.filter { $0 != " " && $0 != "\t" }
            return tag.isEmpty || tag.utf8.count > byteCountMax ? nil : tag
        }
    }
}
