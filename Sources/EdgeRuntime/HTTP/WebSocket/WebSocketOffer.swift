/// A client's side of the handshake: what it asks a server for, and whether an answer grants it (RFC 6455 §4.1).
package struct WebSocketOffer: Sendable {
    private let key: String
    private let accept: String
    private let subprotocols: [String]

    /// Why an answer makes no WebSocket.
    package struct Mismatch: Error, Equatable, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// What was agreed on.
    package struct Agreement: Equatable, Sendable {
        package let subprotocol: String?
        package let compression: PerMessageDeflate?
    }

    /// - Parameters:
    ///   - random: 16 bytes that nobody can predict.
    ///   - subprotocols: The values of `Sec-WebSocket-Protocol`, each a list.
    package init(random: [UInt8], subprotocols: [String], sha1: ([UInt8]) -> [UInt8]) {
        key = WebSocketHandshake.makeKey(random)
        accept = WebSocketHandshake.accept(key, sha1: sha1)
        self.subprotocols = subprotocols.flatMap { WebSocketHandshake.list($0) }
    }

    /// What stands in the request for it, besides its own fields.
    package var fields: [(name: String, value: String)] {
        var fields = [
            (name: "connection", value: "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", key),
            ("sec-websocket-version", WebSocketHandshake.version), ("sec-websocket-extensions", PerMessageDeflate.offer),
        ]
        if !subprotocols.isEmpty { fields.append(("sec-websocket-protocol", subprotocols.joined(separator: ", "))) }
        return fields
    }

    /// Reads the fields of an answer whose status is 101.
    ///
    /// - Parameter headers: In the order sent, names in lower case.
    package func agreement(_ headers: [(name: String, value: String)]) throws(Mismatch) -> Agreement {
        func values(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }
        func tokens(_ name: String) -> [String] { values(name).flatMap { WebSocketHandshake.list($0) } }
        guard tokens("upgrade").map({ $0.lowercased() }) == ["websocket"] else {
            throw Mismatch(description: "the server upgrades to something else")
        }
        guard tokens("connection").contains(where: { $0.lowercased() == "upgrade" }) else {
            throw Mismatch(description: "the server's Connection doesn't name the upgrade")
        }
        guard values("sec-websocket-accept").map(WebSocketHandshake.trimmed) == [accept] else {
            throw Mismatch(description: "the server's Sec-WebSocket-Accept is wrong")
        }
        let chosen = tokens("sec-websocket-protocol")
        guard chosen.count <= 1, chosen.allSatisfy(subprotocols.contains) else {
            throw Mismatch(description: "the server chose a protocol that wasn't offered")
        }
        let extensions = tokens("sec-websocket-extensions")
        guard !extensions.isEmpty else { return Agreement(subprotocol: chosen.first, compression: nil) }
        guard extensions.count == 1, let compression = PerMessageDeflate(answer: extensions[0]) else {
            throw Mismatch(description: "the server chose an extension that wasn't offered")
        }
        return Agreement(subprotocol: chosen.first, compression: compression)
    }
}
