package import Wire

/// The URL of a request as it was written into a buffer, and where its parts are, counted from its start.
package struct RequestURL: Equatable, Sendable {
    package let byteCount: Int
    /// Without the port.
    package let hostname: ByteRange
    /// `nil` for the scheme's default.
    package let port: UInt16?
    /// Without the query.
    package let path: ByteRange
    /// From the question mark on; empty when there is none.
    package let query: ByteRange
}

extension RequestHead {
    package enum Scheme: Sendable { case http, https }

    /// Appends the URL that the request asks for, normalised: what routes are compared with and what a
    /// handler sees. Nearly always a copy; what is written unusually takes the way through `WebURL`.
    ///
    /// - Parameters:
    ///   - scheme: of the connection; a scheme in the target isn't believed.
    ///   - bytes: what the head was parsed from.
    ///   - defaultHost: for HTTP/1.0 requests that name none; normalised, may have a port.
    /// - Returns: `nil`, with nothing appended, when host and path make no URL: answer 400.
    package func appendURL(
        _ scheme: Scheme, of bytes: RawSpan, defaultHost: StaticString = "localhost",
        to buffer: inout ByteBuffer
    ) -> RequestURL? {
        guard let host, host.isNormalized, !pathNeedsNormalizing, targetForm != .asterisk else {
            return appendNormalizedURL(scheme, of: bytes, defaultHost: defaultHost, to: &buffer)
        }
        let before = buffer.readableByteCount
        func here() -> Int { buffer.readableByteCount - before }
        buffer.append(scheme == .http ? "http://" : "https://")
        let hostStart = here()
        buffer.append(bytes.extracting(host.name.range))
        let hostname = ByteRange(offset: hostStart, count: host.name.count)
        let port = host.port == (scheme == .http ? 80 : 443) ? nil : host.port
        if let port {
            buffer.append(0x3A)
            buffer.appendDecimal(Int64(port))
        }
        let pathStart = here()
        buffer.append(bytes.extracting(pathAndQuery.range))
        let pathCount = bytes.endOfPath(pathAndQuery)
        return RequestURL(
            byteCount: here(), hostname: hostname, port: port,
            path: ByteRange(offset: pathStart, count: pathCount),
            query: ByteRange(offset: pathStart + pathCount, count: pathAndQuery.count - pathCount))
    }

    private func appendNormalizedURL(
        _ scheme: Scheme, of bytes: RawSpan, defaultHost: StaticString, to buffer: inout ByteBuffer
    ) -> RequestURL? {
        var text = scheme == .http ? "http://" : "https://"
        if let host {
            text += bytes.text(host.name)
            if let port = host.port { text += ":\(port)" }
        } else {
            text += defaultHost.description
        }
        if targetForm == .asterisk {
            text += "/"
        } else {
            if pathAndQuery.isEmpty || bytes[pathAndQuery.offset] != 0x2F { text += "/" }
            text += bytes.text(pathAndQuery)
        }
        guard let url = WebURL(text), url.scheme == (scheme == .http ? "http" : "https") else { return nil }
        buffer.append(url.href)
        // There is neither user information nor a fragment, so the parts follow one another.
        let hostStart = url.scheme.utf8.count + 3
        let pathStart = hostStart + url.host.utf8.count
        let pathCount = url.path.utf8.count
        return RequestURL(
            byteCount: url.href.utf8.count,
            hostname: ByteRange(offset: hostStart, count: url.hostname.utf8.count), port: url.port,
            path: ByteRange(offset: pathStart, count: pathCount),
            query: ByteRange(
                offset: pathStart + pathCount, count: url.href.utf8.count - pathStart - pathCount))
    }
}

extension RawSpan {
    /// How many bytes of a path with query are in front of the question mark.
    func endOfPath(_ range: ByteRange) -> Int {
        for offset in range.range where self[offset] == 0x3F { return offset - range.offset }
        return range.count
    }
}
