internal import HTTP
internal import System
internal import Wire

/// What the node tells a worker about the client. Whatever a client sends under these names is overwritten; a trusted
/// proxy is believed.
enum EdgeHeaders {
    /// Never passed on as the client sent them.
    @inline(__always)
    static func isOverwritten(_ header: KnownHeader) -> Bool {
        switch header {
        case .xForwardedFor, .xForwardedProto, .xForwardedHost, .xRealIP, .cfConnectingIP, .cfRay, .cfVisitor,
            .cfIPCountry, .trueClientIP, .acceptEncoding, .xRequestID, .traceparent, .expect:
            true
        default: false
        }
    }

    /// Appends the headers of one request.
    ///
    /// - Parameter bytes: the request's head.
    /// - Returns: how many were appended.
    static func append(
        for connection: Connection, _ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer
    ) -> Int {
        let client = connection.client
        func sent(_ header: KnownHeader) -> UnsafeRawBufferPointer? {
            guard let field = connection.parser.head.fields.first(header), !field.value.isEmpty else { return nil }
            return unsafe field.value.of(bytes)
        }

        if client.isTrusted {
            unsafe appendClient(behind: client, sent, into: &buffer)
        } else {
            buffer.append(client.headers)
        }
        var count = Client.headerCount
        unsafe appendChain(connection, bytes, client.address.text, into: &buffer)
        count += 1
        if let host = unsafe (client.isTrusted ? sent(.xForwardedHost) : nil) ?? sent(.host) {
            unsafe buffer.append(headerName: "x-forwarded-host", value: host)
            count += 1
        }

        // What names the request.
        let ray = HexDigits(connection.exchange.ray)
        let colo = connection.node.settings.colo
        buffer.append(headerName: "cf-ray", valueByteCount: 17 + colo.utf8.count)
        buffer.append(ray)
        buffer.append(0x2D)
        buffer.append(colo)
        if client.isTrusted, let id = unsafe sent(.xRequestID) {
            unsafe buffer.append(headerName: "x-request-id", value: id)
        } else {
            buffer.append(headerName: "x-request-id", valueByteCount: 16)
            buffer.append(ray)
        }
        if let parent = unsafe sent(.traceparent), unsafe isTraceParent(parent) {
            unsafe buffer.append(headerName: "traceparent", value: parent)
        } else {
            buffer.append(headerName: "traceparent", valueByteCount: 55)
            buffer.append("00-" as StaticString)
            buffer.append(HexDigits(connection.reactor.random.next()))
            buffer.append(ray)
            buffer.append(0x2D)
            buffer.append(HexDigits(connection.reactor.random.next()))
            buffer.append("-00" as StaticString)
        }
        return count + 3
    }

    /// `Client.headers` for a request that a trusted proxy passes on: what it says of its client comes first.
    private static func appendClient(
        behind proxy: Client, _ sent: (KnownHeader) -> UnsafeRawBufferPointer?, into buffer: inout ByteBuffer
    ) {
        if let address = unsafe sent(.cfConnectingIP) ?? sent(.xRealIP) {
            unsafe buffer.append(headerName: "cf-connecting-ip", value: address)
            unsafe buffer.append(headerName: "x-real-ip", value: address)
        } else {
            buffer.append(headerName: "cf-connecting-ip", value: proxy.address.text)
            buffer.append(headerName: "x-real-ip", value: proxy.address.text)
        }
        if let proto = unsafe sent(.xForwardedProto) {
            unsafe buffer.append(headerName: "x-forwarded-proto", value: proto)
        } else {
            buffer.append(headerName: "x-forwarded-proto", value: "http" as StaticString)
        }
        buffer.append(headerName: "cf-visitor", value: #"{"scheme":"http"}"# as StaticString)
        if let country = unsafe sent(.cfIPCountry) {
            unsafe buffer.append(headerName: "cf-ipcountry", value: country)
        } else {
            buffer.append(headerName: "cf-ipcountry", value: "XX" as StaticString)
        }
        buffer.append(headerName: "accept-encoding", value: "br, gzip" as StaticString)
    }

    /// What the request says of its way so far, all of its lines in order (RFC 9110 §5.3), then who brought it here.
    private static func appendChain(
        _ connection: Connection, _ bytes: UnsafeRawBufferPointer, _ peer: String, into buffer: inout ByteBuffer
    ) {
        guard connection.parser.head.fields.contains(.xForwardedFor) else {
            return buffer.append(headerName: "x-forwarded-for", value: peer)
        }
        buffer.append(headerName: "x-forwarded-for", valueByteCount: 0)
        let start = buffer.readableByteCount
        for index in 0..<connection.parser.head.fields.count {
            let field = connection.parser.head.fields[index]
            guard field.known == .xForwardedFor, !field.value.isEmpty else { continue }
            unsafe buffer.append(field.value.of(bytes))
            buffer.append(", " as StaticString)
        }
        buffer.append(peer)
        let nameByteCount = ("x-forwarded-for" as StaticString).utf8CodeUnitCount
        buffer.patch(UInt32(buffer.readableByteCount - start), at: start - nameByteCount - 4)
    }

    /// W3C Trace Context: `00-<32 hex>-<16 hex>-<2 hex>`, lower case.
    private static func isTraceParent(_ value: UnsafeRawBufferPointer) -> Bool {
        guard value.count == 55, unsafe value[0] == 0x30, unsafe value[1] == 0x30 else { return false }
        for index in 0..<55 {
            let byte = unsafe value[index]
            switch index {
            case 2, 35, 52: guard byte == 0x2D else { return false }
            default: guard (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) else { return false }
            }
        }
        return true
    }
}

/// The text of a ray: sixteen hexadecimal digits, a dash, the place.
enum RayID {
    static func text(_ ray: UInt64) -> String {
        let digits = String(ray, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
