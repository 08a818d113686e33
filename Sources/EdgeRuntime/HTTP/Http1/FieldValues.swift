// The grammar of the field values that frame a message.

extension RawSpan {
    /// `1*DIGIT` (RFC 9110 §8.6); `nil` for anything else, a list of equal numbers and a number over 2⁶³−1
    /// included.
    func contentLength(_ range: ByteRange) -> Int64? {
        guard !range.isEmpty else { return nil }
        var value: Int64 = 0
        for offset in range.range {
            let digit = self[offset] &- 0x30
            guard digit < 10 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int64(digit))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return value
    }

    /// Calls `body` with each member of a comma-separated list of tokens.
    ///
    /// - Parameter allowsEmpty: whether empty members are passed over (RFC 9110 §5.6.1.2). Not where a list frames the message.
    /// - Returns: `false` when a member is empty or no token.
    @inline(__always)
    func forEachToken<Failure: Error>(
        _ range: ByteRange, allowsEmpty: Bool = false, _ body: (ByteRange) throws(Failure) -> Void
    ) throws(Failure) -> Bool {
        var offset = range.offset
        let end = range.end
        while true {
            while offset < end, self[offset].isOptionalWhitespace { offset += 1 }
            let stop = endOfToken(from: offset, to: end)
            if stop > offset {
                try body(ByteRange(offset: offset, count: stop - offset))
            } else if !allowsEmpty {
                return false
            }
            offset = stop
            while offset < end, self[offset].isOptionalWhitespace { offset += 1 }
            guard offset < end else { return true }
            guard self[offset] == 0x2C else { return false }
            offset += 1
        }
    }
}

/// What the `Transfer-Encoding` fields of one message say so far.
struct TransferCodings {
    private(set) var isPresent = false
    private(set) var isChunked = false
    private var hasOthers = false

    /// Adds a field. `chunked` must be the last coding and stand there once (RFC 9112 §6.1).
    mutating func add(_ value: ByteRange, of bytes: RawSpan) throws(HTTPParseError) {
        isPresent = true
        let isList = try bytes.forEachToken(value) { coding throws(HTTPParseError) in
            guard !isChunked else { throw .chunkedNotLast }
            if bytes.token(at: coding.offset, count: coding.count, is: "chunked") {
                isChunked = true
            } else {
                hasOthers = true
            }
        }
        guard isList else { throw .malformedTransferEncoding }
    }

    func validate() throws(HTTPParseError) {
        guard isPresent else { return }
        guard isChunked else { throw .chunkedNotLast }
        guard !hasOthers else { throw .unsupportedTransferCoding }
    }
}

/// What the `Connection` fields of one message say so far.
struct ConnectionOptions {
    var close = false
    var keepAlive = false
    var upgrade = false
    /// How many other fields are named.
    var namesCount = 0

    mutating func add(_ value: ByteRange, of bytes: RawSpan, namesMax: Int) throws(HTTPParseError) {
        let isList = try bytes.forEachToken(value, allowsEmpty: true) { option throws(HTTPParseError) in
            if bytes.token(at: option.offset, count: option.count, is: "keep-alive") {
                keepAlive = true
            } else if bytes.token(at: option.offset, count: option.count, is: "close") {
                close = true
            } else if bytes.token(at: option.offset, count: option.count, is: "upgrade") {
                upgrade = true
            } else {
                namesCount += 1
                guard namesCount <= namesMax else { throw .tooManyConnectionNames }
            }
        }
        guard isList else { throw .malformedConnection }
    }
}

extension FieldSection {
    /// Marks what `Connection` names as ending here. `Host` and `Content-Length` can't be named away: they
    /// are meant for all recipients (RFC 9110 §7.6.1), and dropping them would change the request.
    mutating func markConnectionNames(_ bytes: RawSpan) {
        for index in 0..<count where self[index].known == .connection {
            _ = bytes.forEachToken(self[index].value, allowsEmpty: true) { option in
                for candidate in 0..<count
                where self[candidate].known != .host && self[candidate].known != .contentLength
                    && bytes.token(self[candidate].name, equals: option)
                {
                    markHopByHop(candidate)
                }
            }
        }
    }
}
