internal import HTTP
internal import Wire

/// A request's head while its fields come, to be written down as HTTP/1.1 has it. One per connection: heads come one after the
/// other. The session has checked each name and value for what may stand in them (RFC 9113 §8.2.1, §8.3.1).
struct HTTP2HeadDraft: ~Copyable {
    private var method: [UInt8] = []
    private var path: [UInt8] = []
    private var authority: [UInt8] = []
    private var host: [UInt8]?
    /// What a CONNECT is for (RFC 8441 §4); empty for all other requests.
    private var protocolName: [UInt8] = []
    private var cookie: [UInt8] = []
    private var lines = ByteBuffer()
    private var byteCount = 0
    private let bytesMax: Int

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    mutating func begin() {
        method.removeAll(keepingCapacity: true)
        path.removeAll(keepingCapacity: true)
        authority.removeAll(keepingCapacity: true)
        cookie.removeAll(keepingCapacity: true)
        host = nil
        protocolName.removeAll(keepingCapacity: true)
        lines.consume(lines.readableByteCount)
        byteCount = 0
    }

    /// Whether it has more bytes than may be; those beyond weren't kept.
    var isTooLarge: Bool { byteCount > bytesMax }

    mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        byteCount += name.count + value.count + 4
        guard !isTooLarge else { return }
        if name.count > 1, unsafe name[0] == UInt8(ascii: ":") {
            // The session knows the pseudo fields of requests: their second letters tell.
            switch unsafe name[1] {
            case UInt8(ascii: "m"): unsafe method.append(contentsOf: value)
            case UInt8(ascii: "p") where name.count == 5: unsafe path.append(contentsOf: value)
            case UInt8(ascii: "p"): unsafe protocolName.append(contentsOf: value)
            case UInt8(ascii: "a"): unsafe authority.append(contentsOf: value)
            // What scheme the client means makes no difference: what counts is what it came by.
            default: break
            }
        } else if name.count == 6, unsafe name.elementsEqual("cookie".utf8) {
            // It may come in pieces, which are one line for everybody else (RFC 9113 §8.2.3).
            if !cookie.isEmpty { cookie += [UInt8(ascii: ";"), UInt8(ascii: " ")] }
            unsafe cookie.append(contentsOf: value)
        } else if name.count == 4, unsafe name.elementsEqual("host".utf8), host == nil {
            host = unsafe Array(value)
        } else if hasProtocol, name.count == 17, unsafe name.elementsEqual("sec-websocket-key".utf8) {
            // The key of a connection that isn't one: it means nothing there (RFC 8441 §5).
        } else {
            unsafe lines.appendHeader(name: name.bytes, value: value.bytes)
        }
    }

    /// The request is an extended CONNECT.
    var hasProtocol: Bool { !protocolName.isEmpty }
    var asksForWebSocket: Bool { protocolName.elementsEqual("websocket".utf8) }

    /// Writes the head to `target`. One that asks for a WebSocket is written as HTTP/1.1 would ask, with a key that has no meaning:
    /// what looks at it is the same for both.
    ///
    /// - Returns: false when `host` and `:authority` name different hosts: the request is malformed (RFC 9113 §8.3.1).
    mutating func finish(into target: inout ByteBuffer) -> Bool {
        if let host, !authority.isEmpty, host != authority { return false }
        if asksForWebSocket { target.append("GET" as StaticString) } else { target.append(method) }
        target.append(0x20)
        // CONNECT has none.
        target.append(path.isEmpty ? authority : path)
        target.append(" HTTP/1.1\r\nhost: " as StaticString)
        target.append(authority.isEmpty ? host ?? [] : authority)
        target.append("\r\n" as StaticString)
        if asksForWebSocket {
            target.append(
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" as StaticString)
        }
        unsafe lines.withReadable { unsafe target.append($0) }
        if !cookie.isEmpty {
            target.append("cookie: " as StaticString)
            target.append(cookie)
            target.append("\r\n" as StaticString)
        }
        target.append("\r\n" as StaticString)
        lines.consume(lines.readableByteCount)
        if lines.allocatedByteCount > 16 << 10 { lines.releaseIfEmpty() }
        return true
    }
}
