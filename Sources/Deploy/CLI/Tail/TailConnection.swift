internal import Curl
internal import HTTP
internal import OpenSSL

/// The client's end of a tail's WebSocket. It blocks the thread that has it.
final class TailConnection {
    /// Why there is nothing more to come.
    enum End: Error {
        /// The node said so.
        case closed(WebSocketCloseCode?, reason: String)
        case lost(String)
    }

    private static let subprotocol = "trace-v1"
    /// An event has a few MiB of JSON at most.
    private static let messageBytesMax = 64 << 20
    private static let headBytesMax = 64 << 10
    /// After so long without a word the node is asked for one, and after as long again it is gone.
    private static let patience = Duration.seconds(20)

    private let connection: CurlConnection
    private var reader = WebSocketReader(masking: .refused, messageBytesMax: messageBytesMax)
    private var bytes: [UInt8] = []
    private var offset = 0

    /// - Parameter url: As the node gave it; reached under the address that the command was given, which may be a proxy's.
    init(_ url: String, at address: NodeAddress) throws(End) {
        let authority = address.origin.split(separator: "/").last.map(String.init) ?? ""
        let target = "/" + url.split(separator: "/").dropFirst(2).joined(separator: "/")
        do throws(CurlError) {
            let connection = try CurlConnection(to: address.origin, authorities: address.authorities, timeout: .seconds(15))
            let key = WebSocketHandshake.makeKey(SecureRandom.bytes(16))
            try connection.send(
                WebSocketRequest.head(
                    target: target, host: authority, key: key, subprotocol: Self.subprotocol, agent: "edge/\(Edge.version)"))
            let head = try Self.readHead(connection)
            let accept = WebSocketHandshake.accept(key) { Digest.hash($0, with: .sha1) }
            guard let head, WebSocketRequest.isAccepted(head.text, accept: accept, subprotocol: Self.subprotocol) else {
                throw CurlError.closed
            }
            try connection.send(WebSocketRequest.frame(.text, Array(#"{"debug":false}"#.utf8)))
            self.connection = connection
            bytes = head.rest
        } catch {
            throw .lost(error == .closed ? "the node refuses it" : "\(error)")
        }
    }

    /// - Returns: `nil` when the answer breaks off.
    private static func readHead(_ connection: CurlConnection) throws(CurlError) -> (text: String, rest: [UInt8])? {
        var bytes: [UInt8] = []
        let end = Array("\r\n\r\n".utf8)
        while bytes.count < headBytesMax {
            guard let piece = try connection.receive(patience: patience), !piece.isEmpty else { return nil }
            bytes += piece
            if let place = bytes.firstRange(of: end) {
                return (String(decoding: bytes[..<place.lowerBound], as: UTF8.self), Array(bytes[place.upperBound...]))
            }
        }
        return nil
    }

    /// The next event's JSON.
    func next() throws(End) -> [UInt8] {
        do {
            var wasAsked = false
            while true {
                while let event = try take() {
                    switch event {
                    case .text(let text): return text
                    case .ping(let payload): try connection.send(WebSocketRequest.frame(.pong, payload))
                    case .pong, .binary, .piece: break
                    case .close(let code, let reason):
                        try? connection.send(WebSocketRequest.close(code))
                        throw End.closed(code, reason: reason)
                    }
                }
                guard let piece = try connection.receive(patience: Self.patience) else {
                    guard !wasAsked else { throw End.lost("the node is silent") }
                    wasAsked = true
                    try connection.send(WebSocketRequest.frame(.ping, []))
                    continue
                }
                guard !piece.isEmpty else { throw End.lost("the node has ended the connection") }
                wasAsked = false
                (bytes, offset) = (piece, 0)
            }
        } catch let end as End {
            throw end
        } catch {
            throw .lost("\(error)")
        }
    }

    private func take() throws(WebSocketFailure) -> WebSocketReader.Event? {
        // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives for this call.
        let bytes = bytes
        return try unsafe reader.next(bytes.span.bytes, from: &offset)
    }
}
