internal import HTTP
internal import Wire

/// A client's address and what the node tells workers about it. Made once; connections from one address share it.
final class Client: Sendable {
    let address: NetworkAddress
    /// A trusted proxy: its own word about the client behind it counts.
    let isTrusted: Bool
    /// Of the listener that it came to.
    let scheme: RouteScheme
    /// The headers that every request of an untrusted client gets, as a fetch message has them.
    let headers: [UInt8]
    static let headerCount = 6
    /// What limits count it by, unless it is a proxy that speaks for others.
    let limitKey: String

    init(_ address: NetworkAddress, isTrusted: Bool, scheme: RouteScheme) {
        self.address = address
        self.isTrusted = isTrusted
        self.scheme = scheme
        limitKey = ClientKey.text(of: address)
        var block = ByteBuffer()
        block.appendBlockHeader("cf-connecting-ip", address.text)
        block.appendBlockHeader("x-real-ip", address.text)
        block.appendBlockHeader("x-forwarded-proto", scheme == .https ? "https" : "http")
        block.appendBlockHeader("cf-visitor", scheme == .https ? #"{"scheme":"https"}"# : #"{"scheme":"http"}"#)
        block.appendBlockHeader("cf-ipcountry", "XX")
        block.appendBlockHeader("accept-encoding", "br, gzip")
        headers = unsafe block.withReadable { unsafe Array($0) }
    }
}
