internal import Wire

/// What a request must say to become a WebSocket, and what is answered (RFC 6455 §4). SHA-1 is the caller's: HTTP has no library.
package struct WebSocketHandshake: Equatable, Sendable {
    /// As the client sent it.
    package let key: String
    /// The subprotocols that the client offers, the one it likes best first.
    package let subprotocols: [String]
    /// The extensions that it offers, as they stand.
    package let extensions: [String]

    package static let version = "13"

    /// Why a request doesn't become one.
    package struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
        package let status: Int
        package let description: String

        /// To go with the answer: 426 must say what to upgrade to (RFC 9110 §15.5.22).
        package var headers: [(name: String, value: String)] {
            guard status == 426 else { return [] }
            return [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", WebSocketHandshake.version)]
        }
    }

    /// Reads a request.
    ///
    /// - Parameter headers: In the order sent, names in lower case.
    package init(method: String, headers: [(name: String, value: String)]) throws(Refusal) {
        func tokens(_ name: String) -> [String] {
            headers.filter { $0.name == name }.flatMap { Self.list($0.value) }
        }
        func has(_ token: String, in name: String) -> Bool { tokens(name).contains { $0.lowercased() == token } }
        guard has("websocket", in: "upgrade"), has("upgrade", in: "connection") else {
            throw Refusal(status: 426, description: "this is a WebSocket: ask with Upgrade: websocket and Connection: upgrade")
        }
        guard method == "GET" else { throw Refusal(status: 405, description: "a WebSocket is asked for with GET") }
        let versions = tokens("sec-websocket-version")
        guard versions == [Self.version] else {
            throw Refusal(status: 426, description: "Sec-WebSocket-Version must be \(Self.version)")
        }
        let keys = headers.filter { $0.name == "sec-websocket-key" }
        guard keys.count == 1, Self.isKey(keys[0].value) else {
            throw Refusal(status: 400, description: "Sec-WebSocket-Key must be 16 bytes in base64, once")
        }
        key = keys[0].value
        subprotocols = tokens("sec-websocket-protocol")
        guard subprotocols.allSatisfy(Self.isToken) else {
            throw Refusal(status: 400, description: "Sec-WebSocket-Protocol must be a list of tokens")
        }
        extensions = tokens("sec-websocket-extensions")
    }

    /// What `Sec-WebSocket-Accept` says to a client that sent `key`.
    package static func accept(_ key: String, sha1: ([UInt8]) -> [UInt8]) -> String {
        base64(sha1(Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)))
    }

    /// The key of a client's handshake.
    ///
    /// - Parameter random: 16 bytes.
    package static func makeKey(_ random: [UInt8]) -> String { base64(random) }

    // MARK: Texts

    /// The elements of a list, without what is quoted being cut (RFC 9110 §5.6.1).
    static func list(_ value: String) -> [String] {
        var elements: [String] = []
        var element = ""
        var (isQuoted, isEscaped) = (false, false)
        for character in value.unicodeScalars {
            if character == ",", !isQuoted {
                elements.append(element)
                element = ""
                continue
            }
            if isEscaped {
                isEscaped = false
            } else if character == "\\", isQuoted {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            }
            element.unicodeScalars.append(character)
        }
        elements.append(element)
        return elements.map(trimmed).filter { !$0.isEmpty }
    }

    static func trimmed(_ text: String) -> String {
        var text = Substring(text)
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }

    private static func isToken(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives for this call.
        return unsafe !bytes.isEmpty && bytes.span.bytes.endOfToken(from: 0, to: bytes.count) == bytes.count
    }

    /// 16 bytes are 22 digits, whose last has four bits of nothing, and two signs of the end.
    private static func isKey(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count == 24, bytes[22] == UInt8(ascii: "="), bytes[23] == UInt8(ascii: "=") else { return false }
        return bytes[..<22].allSatisfy { digits.contains($0) }
    }

    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func base64(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            for place in 0..<4 {
                text.append(place <= group.count ? digits[Int(bits >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// A client's side of the handshake, and its frames.
package enum WebSocketRequest {
    /// What a client sends (RFC 6455 §4.1).
    ///
    /// - Parameter key: See `WebSocketHandshake.makeKey`.
    package static func head(target: String, host: String, key: String, subprotocol: String, agent: String) -> [UInt8] {
        let lines = [
            "GET \(target) HTTP/1.1", "Host: \(host)", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: \(key)",
            "Sec-WebSocket-Version: \(WebSocketHandshake.version)", "Sec-WebSocket-Protocol: \(subprotocol)",
            "User-Agent: \(agent)", "", "",
        ]
        return Array(lines.joined(separator: "\r\n").utf8)
    }

    /// Whether `head`, the server's answer up to its empty line, switches to the protocol that was asked for.
    package static func isAccepted(_ head: String, accept: String, subprotocol: String) -> Bool {
        let lines = head.split(separator: "\r\n")
        guard let status = lines.first, status.hasPrefix("HTTP/1.1 101 ") || status == "HTTP/1.1 101" else { return false }
        func values(_ name: String) -> [String] {
            lines.dropFirst().compactMap { line in
                let halves = line.split(separator: ":", maxSplits: 1)
                guard halves.count == 2, halves[0].lowercased() == name else { return nil }
                return WebSocketHandshake.trimmed(String(halves[1]))
            }
        }
        return values("upgrade").map { $0.lowercased() } == ["websocket"] && values("sec-websocket-accept") == [accept]
            && values("sec-websocket-protocol") == [subprotocol] && values("sec-websocket-extensions").isEmpty
    }

    /// A short frame as a client sends it.
    package static func frame(_ opcode: WebSocketOpcode, _ payload: [UInt8]) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.appendWebSocketFrame(opcode, payload, mask: WebSocketMask(UInt32.random(in: 0...(.max))))
        return unsafe buffer.withReadable { unsafe Array($0) }
    }

    /// A Close frame as a client sends it.
    package static func close(_ code: WebSocketCloseCode?) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.appendWebSocketClose(code, mask: WebSocketMask(UInt32.random(in: 0...(.max))))
        return unsafe buffer.withReadable { unsafe Array($0) }
    }
}
