/// Decides how often a client may come, before any worker is asked. The engine behind it is given by who makes the node.
package protocol RequestLimit: Sendable {
    /// Counts a request of `client`, if it is within the limit. Called on reactors: must not wait.
    ///
    /// - Parameter client: see `ClientKey`.
    /// - Returns: the time after which to come again; `nil` when the request is within the limit.
    func refuse(_ client: String) -> Duration?

    /// What a refused client is told.
    var refusal: EdgeError { get }
}

extension RequestLimit {
    package var refusal: EdgeError { .rateLimited }
}

/// What limits per client count by: an IPv4 address as it is, an IPv6 address by its /64, because whoever has one address of
/// such a network has them all.
enum ClientKey {
    static func text(of address: NetworkAddress) -> String {
        guard address.bytes.count == 16 else { return address.text }
        let groups = (0..<4).map { index in
            String(UInt16(address.bytes[index * 2]) << 8 | UInt16(address.bytes[index * 2 + 1]), radix: 16)
        }
        return groups.joined(separator: ":") + "::/64"
    }

    /// - Parameter text: What a trusted proxy says of its client; anything goes.
    static func text(of text: String) -> String {
        NetworkAddress(text: text).map { self.text(of: $0) } ?? String(text.prefix(64))
    }
}
