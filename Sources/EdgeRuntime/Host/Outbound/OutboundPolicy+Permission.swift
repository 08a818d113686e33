extension OutboundPolicy {
    /// What a worker's permission grants. A pattern is a host, or `*` and the end of one; no pattern means
    /// any host.
    package init(_ permission: OutboundPermission) {
        let patterns = permission.hosts.map { $0.lowercased() }
        self.init(privateAddresses: permission.privateAddresses ? .allowed : .refused) { host, _ in
            patterns.isEmpty
                || patterns.contains { pattern in
                    pattern.hasPrefix("*") ? host.hasSuffix(pattern.dropFirst()) : host == pattern
                }
        }
    }
}
