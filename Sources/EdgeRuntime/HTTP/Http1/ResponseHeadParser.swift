/// Finds response heads at the start of a connection's bytes, as strictly as `RequestHeadParser` finds
/// requests.
///
/// States: `statusLine` → `fields` → `complete`, where the next call begins anew; from any → `failed`, for
/// good.
package struct ResponseHeadParser: ~Copyable {
    package typealias Progress = RequestHeadParser.Progress

    private enum State {
        case statusLine, fields, complete
        case failed(HTTPParseError)
    }

    /// Meaningful after `.complete`, until the next call.
    package private(set) var head = ResponseHead()
    private let limits: HTTPLimits
    private var state = State.statusLine
    private var transferCodings = TransferCodings()
    private var connection = ConnectionOptions()

    package init(limits: HTTPLimits = HTTPLimits()) { self.limits = limits }

    /// Parses the head at the start of `bytes`: all that was received and not consumed.
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

    private mutating func advance(_ bytes: RawSpan) throws(HTTPParseError) -> Int? {
        let end = min(bytes.byteCount, limits.headBytesMax)
        switch state {
        case .complete:
            head.reset()
            transferCodings = TransferCodings()
            connection = ConnectionOptions()
            state = .statusLine
            fallthrough
        case .statusLine:
            guard let fieldsStart = try parseStatusLine(bytes, to: end) else { break }
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

    /// `HTTP/1.1 SP 3DIGIT SP reason CRLF`
    private mutating func parseStatusLine(_ bytes: RawSpan, to end: Int) throws(HTTPParseError) -> Int? {
        let pattern: InlineArray<13, UInt8> = [
            0x48, 0x54, 0x54, 0x50, 0x2F, 0x31, 0x2E, 0, 0x20, 0, 0, 0, 0x20,
        ]
        var status = 0
        for index in pattern.indices {
            guard index < end else { return nil }
            let byte = bytes[index]
            guard pattern[index] == 0 ? byte.isDigit : byte == pattern[index] else {
                throw index == 5 && byte.isDigit ? .unsupportedVersion : .malformedStatusLine
            }
            if index == 7 { head.minorVersion = byte == 0x30 ? 0 : 1 }
            if (9...11).contains(index) { status = status * 10 + Int(byte &- 0x30) }
        }
        guard (100...599).contains(status) else { throw .malformedStatusLine }
        var stop = pattern.count
        while true {
            stop = bytes.endOfFieldValue(from: stop, to: end)
            guard stop < end, bytes[stop] == 0x09 else { break }
            stop += 1
        }
        guard stop < end else { return nil }
        guard bytes[stop] == 0x0D else { throw bytes[stop] == 0x0A ? .bareLineFeed : .malformedStatusLine }
        guard stop + 1 < end else { return nil }
        guard bytes[stop + 1] == 0x0A else { throw .bareCarriageReturn }
        head.status = status
        head.reason = ByteRange(offset: pattern.count, count: stop - pattern.count)
        return stop + 2
    }

    private mutating func parseFields(_ bytes: RawSpan, to end: Int) throws(HTTPParseError) -> Bool {
        while true {
            switch try head.fields.next(
                bytes, to: end, fieldsMax: limits.fieldsMax, nameBytesMax: limits.fieldNameBytesMax)
            {
            case .field(let field):
                switch field.known {
                case .contentLength:
                    guard head.contentLength == nil else { throw .repeatedContentLength }
                    guard let length = bytes.contentLength(field.value) else { throw .malformedContentLength }
                    head.contentLength = length
                case .transferEncoding: try transferCodings.add(field.value, of: bytes)
                case .connection:
                    try connection.add(field.value, of: bytes, namesMax: limits.connectionNamesMax)
                default: break
                }
                head.fields.record(field)
            case .end: return true
            case .needMore: return false
            }
        }
    }

    private mutating func finish(_ bytes: RawSpan) throws(HTTPParseError) {
        if transferCodings.isPresent {
            guard head.minorVersion == 1 else { throw .transferEncodingInHTTP10 }
            guard head.contentLength == nil else { throw .contentLengthWithTransferEncoding }
            try transferCodings.validate()
            head.isChunked = true
        }
        head.keepAlive = !connection.close && (head.minorVersion == 1 || connection.keepAlive)
        if connection.namesCount > 0 { head.fields.markConnectionNames(bytes) }
    }
}
