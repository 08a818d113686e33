extension OutboundPolicy {
    /// What a worker's permission grants.
    package init(_ permission: OutboundPermission) {
        let patterns = permission.hosts?.map(HostPattern.init)
        self.init(privateAddresses: permission.privateAddresses ? .allowed : .refused) { host, port in
            patterns?.contains { $0.matches(host, port) } ?? true
        }
    }
}

/// `example.com`, `*.example.com`, `*`, each perhaps with `:port`; without one, the ports 80 and 443 are meant.
private struct HostPattern {
    private let host: String
    private let isSuffix: Bool
    private let port: UInt16?

    init(_ text: String) {
        let lowered = text.lowercased()
        let colon = lowered.lastIndex(of: ":").flatMap { lowered[$0...].contains("]") ? nil : $0 }
        port = colon.flatMap { UInt16(lowered[lowered.index(after: $0)...]) }
        let name = port == nil ? lowered : String(lowered[..<(colon ?? lowered.endIndex)])
        isSuffix = name.hasPrefix("*")
        host = isSuffix ? String(name.dropFirst()) : name
    }

    func matches(_ candidate: String, _ candidatePort: UInt16) -> Bool {
        guard port.map({ $0 == candidatePort }) ?? (candidatePort == 80 || candidatePort == 443) else { return false }
        return isSuffix ? candidate.hasSuffix(host) : candidate == host
    }
}
