/// Finds request heads at the start of a connection's bytes (RFC 9112 §2–5), in place and without allocating.
///
/// States: `start` (before the request line; one CRLF may stand here, RFC 9112 §2.2) → `requestLine` →
/// `fields` → `complete`, where the next call begins anew with `start`; from any of them → `failed`, for
/// good.
///
/// What arrived is never read twice, but for the name or method at the start of a line that is still
/// incomplete.
package struct RequestHeadParser: ~Copyable {
    package enum Progress: Equatable, Sendable {
        /// Call again when there are more bytes, with all those of this call still in front.
        case needMore
        /// `head` is filled; so many bytes belong to it, and the body starts behind them.
        case complete(headByteCount: Int)
        case failed(HTTPParseError)
    }

    private enum State {
        case start, requestLine, fields, complete
        case failed(HTTPParseError)
    }

    /// Meaningful after `.complete`, until the next call.
    package private(set) var head = RequestHead()
    private let limits: HTTPLimits
    private var state = State.start
    /// The start of the request line, and how far its target was found clean.
    private var lineStart = 0
    private var targetScanned = 0
    private var transferCodings = TransferCodings()
    private var connection = ConnectionOptions()
    private var asksForWebSocket = false
    private var hasHostField = false

    package init(limits: HTTPLimits = HTTPLimits()) { self.limits = limits }

    /// Whether a part of a head has been seen: the difference between an idle connection and a slow one.
    package var isInsideHead: Bool {
        switch state {
        case .start: lineStart > 0
        case .requestLine, .fields: true
        case .complete, .failed: false
        }
    }

    /// Parses the head at the start of `bytes`.
    ///
    /// - Parameter bytes: all that was received and not consumed.
    package mutating func parse(_ bytes: RawSpan) -> Progress {
        do throws(HTTPParseError) {
            guard let count = try advance(bytes) else { return .needMore }
            state = .complete
            return .complete(headByteCount: count)
        } catch {
            state = .failed(error)
            return .failed(error)
        }
    }

    /// Gives memory back while the connection is idle.
    package mutating func releaseStorage() { head.fields.releaseStorage() }

    private mutating func advance(_ bytes: RawSpan) throws(HTTPParseError) -> Int? {
        let end = min(bytes.byteCount, limits.headBytesMax)
        switch state {
        case .complete:
            begin()
            fallthrough
        case .start:
            guard try skipEmptyLine(bytes, to: end) else { break }
            state = .requestLine
            fallthrough
        case .requestLine:
            guard let fieldsStart = try parseRequestLine(bytes, to: end) else { break }
            head.fields.reset(at: fieldsStart)
            state = .fields
            fallthrough
        case .fields:
            if try parseFields(bytes, to: end) {
                try finish(bytes)
                return head.fields.position
            }
        case .failed(let error): throw error
        }
        guard bytes.byteCount < limits.headBytesMax else { throw .headTooLarge }
        return nil
    }

    private mutating func begin() {
        head.reset()
        lineStart = 0
        targetScanned = 0
        transferCodings = TransferCodings()
        connection = ConnectionOptions()
        asksForWebSocket = false
        hasHostField = false
        state = .start
    }

    private mutating func skipEmptyLine(_ bytes: RawSpan, to end: Int) throws(HTTPParseError) -> Bool {
        guard end > 0 else { return false }
        guard bytes[0] == 0x0D else { return true }
        guard end > 1 else { return false }
        guard bytes[1] == 0x0A else { throw .bareCarriageReturn }
        lineStart = 2
        return true
    }

    // MARK: Request line

    /// - Returns: where the line behind the request line starts.
    private mutating func parseRequestLine(_ bytes: RawSpan, to end: Int) throws(HTTPParseError) -> Int? {
        let methodEnd: Int
        if end - lineStart >= 4, bytes.word32(at: lineStart) == 0x2054_4547 {  // "GET "
            methodEnd = lineStart + 3
        } else {
            methodEnd = bytes.endOfToken(from: lineStart, to: min(end, lineStart + limits.methodBytesMax + 1))
            guard methodEnd - lineStart <= limits.methodBytesMax else { throw .methodTooLong }
            guard methodEnd < end else { return nil }
            guard methodEnd > lineStart, bytes[methodEnd] == 0x20 else { throw .malformedMethod }
        }

        let start = methodEnd + 1
        let targetEnd = bytes.endOfVisible(
            from: max(start, targetScanned), to: min(end, start + limits.targetBytesMax + 1))
        targetScanned = targetEnd
        guard targetEnd - start <= limits.targetBytesMax else { throw .targetTooLong }
        guard targetEnd < end else { return nil }
        guard targetEnd > start, bytes[targetEnd] == 0x20 else { throw .malformedTarget }

        guard let lineEnd = try parseVersion(bytes, from: targetEnd + 1, to: end) else { return nil }
        head.method = ByteRange(offset: lineStart, count: methodEnd - lineStart)
        head.knownMethod = Self.identifyMethod(bytes, head.method)
        head.target = ByteRange(offset: start, count: targetEnd - start)
        try parseTarget(bytes)
        return lineEnd
    }

    /// `HTTP/1.1` CRLF.
    private mutating func parseVersion(
        _ bytes: RawSpan, from start: Int, to end: Int
    ) throws(HTTPParseError) -> Int? {
        var offset = start
        if end - start >= 10, bytes.word64(at: start) == 0x312E_312F_5054_5448 {
            head.minorVersion = 1
            offset += 8
        } else {
            let expected: InlineArray<5, UInt8> = [0x48, 0x54, 0x54, 0x50, 0x2F]
            for index in expected.indices {
                guard offset < end else { return nil }
                guard bytes[offset] == expected[index] else { throw .malformedVersion }
                offset += 1
            }
            guard offset < end else { return nil }
            guard bytes[offset].isDigit else { throw .malformedVersion }
            guard bytes[offset] == 0x31 else { throw .unsupportedVersion }
            offset += 1
            guard offset < end else { return nil }
            guard bytes[offset] == 0x2E else { throw .malformedVersion }
            offset += 1
            guard offset < end else { return nil }
            guard bytes[offset].isDigit else { throw .malformedVersion }
            head.minorVersion = bytes[offset] == 0x30 ? 0 : 1
            offset += 1
            guard offset < end else { return nil }
        }
        guard bytes[offset] == 0x0D else {
            throw bytes[offset] == 0x0A ? .bareLineFeed : .malformedVersion
        }
        guard offset + 1 < end else { return nil }
        guard bytes[offset + 1] == 0x0A else { throw .bareCarriageReturn }
        return offset + 2
    }

    /// Methods are case-sensitive (RFC 9110 §9.1).
    private static func identifyMethod(_ bytes: RawSpan, _ method: ByteRange) -> RequestHead.KnownMethod {
        func matches(_ literal: StaticString) -> Bool {
            guard method.count == literal.utf8CodeUnitCount else { return false }
            // SAFETY: `index` is inside the literal.
            for index in 0..<method.count
            where unsafe bytes[method.offset + index] != literal.utf8Start[index] { return false }
            return true
        }
        return switch (method.count, bytes[method.offset]) {
        case (3, 0x47): matches("GET") ? .get : .other
        case (3, 0x50): matches("PUT") ? .put : .other
        case (4, 0x48): matches("HEAD") ? .head : .other
        case (4, 0x50): matches("POST") ? .post : .other
        case (5, 0x50): matches("PATCH") ? .patch : .other
        case (6, 0x44): matches("DELETE") ? .delete : .other
        case (7, 0x4F): matches("OPTIONS") ? .options : .other
        default: .other
        }
    }

    /// RFC 9112 §3.2.
    private mutating func parseTarget(_ bytes: RawSpan) throws(HTTPParseError) {
        let target = head.target
        let isConnect =
            head.method.count == 7 && bytes[head.method.offset] == 0x43
            && bytes.token(at: head.method.offset, count: 7, is: "connect")
        if isConnect {
            guard let authority = HostAndPort(bytes, target), authority.port != nil else {
                throw .targetFormNotAllowed
            }
            throw .connectNotSupported
        }
        if bytes[target.offset] == 0x2F {
            head.pathAndQuery = target
        } else if bytes[target.offset] == 0x2A {
            guard target.count == 1, head.knownMethod == .options else { throw .targetFormNotAllowed }
            head.targetForm = .asterisk
            head.pathAndQuery = target
            return
        } else {
            try parseAbsoluteTarget(bytes)
        }
        guard let needsNormalizing = RequestPath.needsNormalizing(bytes, head.pathAndQuery) else {
            throw .malformedTarget
        }
        head.pathNeedsNormalizing = needsNormalizing
    }

    private mutating func parseAbsoluteTarget(_ bytes: RawSpan) throws(HTTPParseError) {
        let target = head.target
        let authorityStart: Int
        if target.count > 7, bytes.token(at: target.offset, count: 4, is: "http"),
            bytes.holds("://", at: target.offset + 4)
        {
            authorityStart = target.offset + 7
        } else if target.count > 8, bytes.token(at: target.offset, count: 5, is: "https"),
            bytes.holds("://", at: target.offset + 5)
        {
            authorityStart = target.offset + 8
        } else {
            throw .targetFormNotAllowed
        }
        var authorityEnd = authorityStart
        while authorityEnd < target.end, bytes[authorityEnd] != 0x2F, bytes[authorityEnd] != 0x3F {
            authorityEnd += 1
        }
        let authority = ByteRange(offset: authorityStart, count: authorityEnd - authorityStart)
        guard let host = HostAndPort(bytes, authority) else { throw .malformedTarget }
        head.host = host
        head.targetForm = .absolute
        head.pathAndQuery = ByteRange(offset: authorityEnd, count: target.end - authorityEnd)
    }

    // MARK: Fields

    private mutating func parseFields(_ bytes: RawSpan, to end: Int) throws(HTTPParseError) -> Bool {
        while true {
            switch try head.fields.next(
                bytes, to: end, fieldsMax: limits.fieldsMax, nameBytesMax: limits.fieldNameBytesMax)
            {
            case .field(let field):
                if field.known.rawValue <= KnownHeader.upgrade.rawValue, field.known != .other {
                    try take(field, bytes)
                }
                head.fields.record(field)
            case .end: return true
            case .needMore: return false
            }
        }
    }

    /// Takes in a field that frames the message.
    private mutating func take(_ field: HeaderField, _ bytes: RawSpan) throws(HTTPParseError) {
        switch field.known {
        case .host:
            guard !hasHostField else { throw .repeatedHost }
            hasHostField = true
            guard let host = HostAndPort(bytes, field.value) else { throw .malformedHost }
            // RFC 9112 §3.2.2: the authority of an absolute target wins.
            if head.targetForm != .absolute { head.host = host }
        case .contentLength:
            guard head.contentLength == nil else { throw .repeatedContentLength }
            guard let length = bytes.contentLength(field.value) else { throw .malformedContentLength }
            head.contentLength = length
        case .transferEncoding: try transferCodings.add(field.value, of: bytes)
        case .connection:
            try connection.add(field.value, of: bytes, namesMax: limits.connectionNamesMax)
        case .expect:
            // RFC 9110 §10.1.1: HTTP/1.0 can't expect.
            guard head.minorVersion == 1 else { return }
            guard bytes.tokenText(field.value, is: "100-continue") else { throw .unsupportedExpectation }
            head.expectsContinue = true
        case .upgrade:
            _ = bytes.forEachToken(field.value, allowsEmpty: true) { protocolName in
                if bytes.token(at: protocolName.offset, count: protocolName.count, is: "websocket") {
                    asksForWebSocket = true
                }
            }
        default: break
        }
    }

    /// The rules that need the whole head.
    private mutating func finish(_ bytes: RawSpan) throws(HTTPParseError) {
        guard hasHostField || head.minorVersion == 0 else { throw .missingHost }
        if transferCodings.isPresent {
            guard head.minorVersion == 1 else { throw .transferEncodingInHTTP10 }
            guard head.contentLength == nil else { throw .contentLengthWithTransferEncoding }
            try transferCodings.validate()
            head.isChunked = true
        }
        head.keepAlive = !connection.close && (head.minorVersion == 1 || connection.keepAlive)
        head.isWebSocketUpgrade =
            asksForWebSocket && connection.upgrade && head.knownMethod == .get && head.minorVersion == 1
        if connection.namesCount > 0 { head.fields.markConnectionNames(bytes) }
    }
}

extension RawSpan {
    /// Whether exactly `literal` stands at `offset`.
    func holds(_ literal: StaticString, at offset: Int) -> Bool {
        guard offset + literal.utf8CodeUnitCount <= byteCount else { return false }
        // SAFETY: `index` is inside the literal.
        for index in 0..<literal.utf8CodeUnitCount
        where unsafe self[offset + index] != literal.utf8Start[index] { return false }
        return true
    }

    /// Whether the range is one token, `literal`, letters in any case.
    func tokenText(_ range: ByteRange, is literal: StaticString) -> Bool {
        endOfToken(from: range.offset, to: range.end) == range.end
            && token(at: range.offset, count: range.count, is: literal)
    }
}
