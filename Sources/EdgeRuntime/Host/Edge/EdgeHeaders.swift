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
        for connection: HTTPStream, _ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer
    ) -> Int {
        let client = connection.client
        func sent(_ header: KnownHeader) -> UnsafeRawBufferPointer? {
            guard let field = connection.parser.head.fields.first(header), !field.value.isEmpty else { return nil }
            return unsafe field.value.of(bytes)
        }

        if client.isTrusted {
            unsafe appendClient(behind: client, of: connection, bytes, sent, into: &buffer)
        } else {
            buffer.append(client.headers)
        }
        var count = Client.headerCount
        unsafe appendChain(connection, bytes, client.address.text, into: &buffer)
        count += 1
        if client.isTrusted, let host = unsafe sent(.xForwardedHost) {
            unsafe buffer.append(headerName: "x-forwarded-host", value: host)
            count += 1
        } else if connection.parser.head.targetForm == .absolute {
            unsafe buffer.append(headerName: "x-forwarded-host", value: connection.hostText(bytes))
            count += 1
        } else if let host = unsafe sent(.host) {
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
            connection.exchange.sentSpan = unsafe TraceSpan(traceParent: parent)
        } else {
            buffer.append(headerName: "traceparent", valueByteCount: 55)
            buffer.append("00-" as StaticString)
            buffer.append(HexDigits(connection.exchange.traceHalf))
            buffer.append(ray)
            buffer.append(0x2D)
            buffer.append(HexDigits(connection.exchange.span))
            buffer.append("-00" as StaticString)
        }
        return count + 3
    }

    /// Calls of workers over this edge that one request may lead to, one after the other.
    static let hopsMax = 16

    /// The headers of a worker's request to the outside: they say who sends it, and how often it has come this way.
    static func onTheWayOut(_ headers: Headers, of event: EventStream) -> Headers {
        var headers = headers
        let hops = event.invocations.hops + 1
        for (name, value) in [
            ("cf-ew-via", "\(hops)"), ("cdn-loop", "edge; loops=\(hops)"), ("cf-worker", event.release.tenant),
            // Whoever receives it must not take the worker for a client (the product's address for this).
            ("cf-connecting-ip", "2a06:98c0:3600::103"),
        ] {
            // A value that is none is left out: a tenant's name always is one.
            try? headers.set(name, value)
        }
        return headers
    }

    /// `Client.headers` for a request that a trusted proxy passes on: what it says of its client comes first.
    private static func appendClient(
        behind proxy: Client, of connection: HTTPStream, _ bytes: UnsafeRawBufferPointer,
        _ sent: (KnownHeader) -> UnsafeRawBufferPointer?, into buffer: inout ByteBuffer
    ) {
        // `limitKey` asks the same in the same order.
        if let address = unsafe sent(.cfConnectingIP) ?? sent(.xRealIP) {
            unsafe buffer.append(headerName: "cf-connecting-ip", value: address)
            unsafe buffer.append(headerName: "x-real-ip", value: address)
        } else {
            let address = unsafe farthestClient(connection, bytes) ?? proxy.address.text
            buffer.append(headerName: "cf-connecting-ip", value: address)
            buffer.append(headerName: "x-real-ip", value: address)
        }
        let isSecure = unsafe isSecure(connection, bytes)
        buffer.append(headerName: "x-forwarded-proto", value: isSecure ? "https" : "http")
        buffer.append(headerName: "cf-visitor", value: isSecure ? #"{"scheme":"https"}"# : #"{"scheme":"http"}"#)
        if let country = unsafe sent(.cfIPCountry) {
            unsafe buffer.append(headerName: "cf-ipcountry", value: country)
        } else {
            buffer.append(headerName: "cf-ipcountry", value: "XX" as StaticString)
        }
        buffer.append(headerName: "accept-encoding", value: "br, gzip" as StaticString)
    }

    /// Whether the client has come by https: to the listener, or to the trusted proxy that says so.
    ///
    /// - Parameter bytes: the request's head.
    static func isSecure(_ connection: HTTPStream, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard connection.client.isTrusted, let field = connection.parser.head.fields.first(.xForwardedProto),
            !field.value.isEmpty
        else { return connection.client.scheme == .https }
        // Anything else than https is http, whatever the proxy calls it.
        return unsafe field.value.of(bytes).elementsEqual("https".utf8)
    }

    /// What limits per client count a request by: the client as workers see it.
    ///
    /// - Parameter bytes: the request's head.
    static func limitKey(of connection: HTTPStream, _ bytes: UnsafeRawBufferPointer) -> String {
        let client = connection.client
        guard client.isTrusted else { return client.limitKey }
        for header in [KnownHeader.cfConnectingIP, .xRealIP] {
            guard let field = connection.parser.head.fields.first(header), !field.value.isEmpty else { continue }
            return ClientKey.text(of: unsafe bytes.bytes.text(field.value))
        }
        return unsafe farthestClient(connection, bytes).map { ClientKey.text(of: $0) } ?? client.limitKey
    }

    /// The last address of `X-Forwarded-For` that isn't a trusted proxy's: each proxy adds its peer, and only what a trusted
    /// one has added is to be believed.
    private static func farthestClient(_ connection: HTTPStream, _ bytes: UnsafeRawBufferPointer) -> String? {
        var chain: [NetworkAddress?] = []
        for index in 0..<connection.parser.head.fields.count {
            let field = connection.parser.head.fields[index]
            guard field.known == .xForwardedFor else { continue }
            chain += unsafe bytes.bytes.text(field.value).split(separator: ",")
                .map { NetworkAddress(text: $0.filter { $0 != " " && $0 != "\t" }) }
        }
        var client: NetworkAddress?
        for address in chain.reversed() {
            // Beyond what is no address nothing can be believed.
            guard let address else { break }
            client = address
            if !connection.node.trustedProxies.withLock({ $0.contains(address) }) { break }
        }
        return client?.text
    }

    /// What the request says of its way so far, all of its lines in order (RFC 9110 §5.3), then who brought it here.
    private static func appendChain(
        _ connection: HTTPStream, _ bytes: UnsafeRawBufferPointer, _ peer: String, into buffer: inout ByteBuffer
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
    static func text(_ ray: UInt64, _ colo: String) -> String {
        let digits = String(ray, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits + "-" + colo
    }
}
