/// What keeps a client with the release that it got first while several share the requests, if the client itself doesn't
/// say so with `Cloudflare-Workers-Version-Key`.
package enum Affinity: Equatable, Sendable {
    /// The value of this cookie; a client that has none gets one.
    case cookie(String)
    case clientAddress
    /// Each request is drawn by itself.
    case none

    package static let standard = Affinity.cookie("__edge_slot")
}
