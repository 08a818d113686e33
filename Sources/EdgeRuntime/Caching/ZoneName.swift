/// The zone that a host name belongs to: the domain that somebody registers.
package enum ZoneName {
    /// Second-level labels that registries of countries give names below. Not the whole of the Public Suffix List: what is
    /// missing makes two owners' hosts one zone, of one tenant all the same.
    private static let registries: Set<Substring> = ["ac", "co", "com", "edu", "gov", "gv", "mil", "ne", "net", "or", "org"]

    /// - Parameter host: a host name, or a route's pattern of one; with brackets where it is an IPv6 address.
    /// - Returns: `example.com` for `api.example.com`, `localhost` for what stands for it, an address as it is, and nothing
    ///   for a pattern of all hosts.
    package static func of(host: String) -> String {
        let host = host.lowercased()
        if host == "[::1]" || host.hasPrefix("127.") { return "localhost" }
        if host.hasPrefix("[") { return host }
        let labels = host.split(separator: ".").filter { $0 != "*" }
        guard labels.count > 1, let last = labels.last else { return labels.first.map(String.init) ?? "" }
        if last == "localhost" { return "localhost" }
        if last.utf8.allSatisfy({ (0x30...0x39).contains($0) }) { return host }
        let isBelowRegistry = last.utf8.count == 2 && registries.contains(labels[labels.count - 2])
        return labels.suffix(isBelowRegistry ? 3 : 2).joined(separator: ".")
    }
}
