package import Curl

/// What of the network a worker's `fetch` may reach.
package struct OutboundPolicy: Sendable {
    /// Loopback, private, link-local and all other addresses that aren't public: metadata services too.
    package enum PrivateAddresses: Sendable { case refused, allowed }

    package let privateAddresses: PrivateAddresses
    /// The host as in a URL (lower case, an IPv6 address in brackets), and the port.
    package let allows: @Sendable (_ host: String, _ port: UInt16) -> Bool

    package init(
        privateAddresses: PrivateAddresses,
        allows: @escaping @Sendable (_ host: String, _ port: UInt16) -> Bool
    ) {
        self.privateAddresses = privateAddresses
        self.allows = allows
    }

    /// Nothing: what a worker may that was granted nothing.
    package static let nothing = OutboundPolicy(privateAddresses: .refused) { _, _ in false }

    /// Whether a connection may go to `address`, whatever name led to it.
    package func allows(_ address: PeerAddress) -> Bool {
        switch AddressReach(address) {
        case .global: true
        case .special: privateAddresses == .allowed
        case .unusable: false
        }
    }
}
