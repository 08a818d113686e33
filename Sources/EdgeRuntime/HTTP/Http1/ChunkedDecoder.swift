/// Takes a chunked body apart (RFC 9112 §7.1), in place: the caller gets ranges of the bytes that it passed
/// in.
///
/// States and what ends them: `size` (CR; `;`) → `extension…` (CR) → `sizeLineFeed` (LF) → `data` (all its
/// bytes) → `dataEnd` (CR) → `dataLineFeed` (LF) → `size`; after the size zero `trailers` (empty line) →
/// `finished`. What the grammar doesn't allow leads to `failed`, for good. No whitespace is tolerated outside
/// quoted strings.
package struct ChunkedDecoder: ~Copyable {
    package enum Step: Equatable, Sendable {
        /// Consume so many bytes; call again when there are more behind those that remain.
        case needMore(consumed: Int)
        /// `skipped` bytes of framing, then `count` (> 0) bytes of the body. Consume both, then call again.
        case data(skipped: Int, count: Int)
        /// Consume so many bytes; the next message starts behind them. The ranges of `trailers` count from
        /// the start of the bytes of this call.
        case finished(consumed: Int)
        case failed(HTTPParseError)
    }

    private enum State {
        case size
        case extensionName, extensionToken, extensionValueStart, extensionValueToken
        case quoted, quotedPair, quotedEnd
        case sizeLineFeed
        case data, dataEnd, dataLineFeed
        case trailers, finished
        case failed(HTTPParseError)
    }

    /// Filled by `.finished`: without those that must not come after a body (RFC 9110 §6.5.1).
    package private(set) var trailers = FieldSection()
    /// Body bytes handed out so far.
    package private(set) var bodyByteCount: Int64 = 0

    private let limits: HTTPLimits
    private var state = State.size
    private var sizeDigits = 0
    /// Bytes of the chunk that are still to come.
    private var remaining: UInt64 = 0
    private var extensionBytes = 0
    private var extensionBytesInAll: Int64 = 0
    /// Trailer lines seen, kept or not.
    private var trailerLines = 0

    package init(limits: HTTPLimits = HTTPLimits()) { self.limits = limits }

    package var isFinished: Bool {
        if case .finished = state { true } else { false }
    }

    /// Makes the decoder ready for another body; the storage for trailers stays.
    package mutating func reset() {
        trailers.reset(at: 0)
        bodyByteCount = 0
        state = .size
        sizeDigits = 0
        remaining = 0
        extensionBytes = 0
        extensionBytesInAll = 0
        trailerLines = 0
    }

    /// Looks at the bytes behind those consumed before.
    package mutating func next(_ bytes: RawSpan) -> Step {
        do throws(HTTPParseError) {
            return try advance(bytes)
        } catch {
            state = .failed(error)
            return .failed(error)
        }
    }

    private mutating func advance(_ bytes: RawSpan) throws(HTTPParseError) -> Step {
        var offset = 0
        let end = bytes.byteCount
        while true {
            switch state {
            case .data:
                let available = UInt64(end - offset)
                guard available > 0 else { return .needMore(consumed: offset) }
                let count = Int(min(available, remaining))
                remaining -= UInt64(count)
                bodyByteCount += Int64(count)
                if remaining == 0 { state = .dataEnd }
                return .data(skipped: offset, count: count)
            // Trailers are parsed in place, so what is in front of them is consumed with the last or before.
            case .trailers: return try parseTrailers(bytes, from: offset)
            case .finished: return .finished(consumed: 0)
            case .failed(let error): throw error
            default:
                guard offset < end else { return .needMore(consumed: offset) }
                try take(bytes[offset])
                offset += 1
            }
        }
    }

    /// Takes one byte of framing.
    @inline(__always)
    private mutating func take(_ byte: UInt8) throws(HTTPParseError) {
        switch state {
        case .size:
            if let digit = byte.hexDigitValue {
                sizeDigits += 1
                guard sizeDigits <= 16, remaining >> 59 == 0 else { throw .chunkTooLarge }
                remaining = remaining << 4 | UInt64(digit)
                return
            }
            guard sizeDigits > 0 else { throw .malformedChunkSize }
            guard bodyByteCount.addingReportingOverflow(Int64(remaining)).overflow != true else {
                throw .chunkTooLarge
            }
            switch byte {
            case 0x0D: state = .sizeLineFeed
            case 0x3B: state = .extensionName
            case 0x0A: throw .bareLineFeed
            default: throw .malformedChunkSize
            }
        case .extensionName, .extensionToken, .extensionValueStart, .extensionValueToken, .quoted,
            .quotedPair,
            .quotedEnd:
            try takeExtension(byte)
        case .sizeLineFeed:
            guard byte == 0x0A else { throw .bareCarriageReturn }
            sizeDigits = 0
            extensionBytes = 0
            state = remaining == 0 ? .trailers : .data
        case .dataEnd:
            guard byte == 0x0D else { throw byte == 0x0A ? .bareLineFeed : .chunkOverrun }
            state = .dataLineFeed
        case .dataLineFeed:
            guard byte == 0x0A else { throw .bareCarriageReturn }
            state = .size
        case .data, .trailers, .finished, .failed: break
        }
    }

    /// `*( ";" token [ "=" ( token / quoted-string ) ] )`
    private mutating func takeExtension(_ byte: UInt8) throws(HTTPParseError) {
        extensionBytes += 1
        extensionBytesInAll += 1
        guard extensionBytes <= limits.chunkExtensionBytesMax,
            extensionBytesInAll <= Int64(limits.chunkExtensionBytesMax) + bodyByteCount
        else { throw .chunkExtensionsTooLong }
        switch (state, byte) {
        case (.extensionName, _) where byte.isTokenByte: state = .extensionToken
        case (.extensionToken, _) where byte.isTokenByte: break
        case (.extensionToken, 0x3D): state = .extensionValueStart
        case (.extensionValueStart, 0x22): state = .quoted
        case (.extensionValueStart, _) where byte.isTokenByte: state = .extensionValueToken
        case (.extensionValueToken, _) where byte.isTokenByte: break
        case (.quoted, 0x22): state = .quotedEnd
        case (.quoted, 0x5C): state = .quotedPair
        case (.quoted, _) where byte == 0x09 || byte >= 0x20 && byte != 0x7F: break
        case (.quotedPair, _) where byte == 0x09 || byte >= 0x20 && byte != 0x7F: state = .quoted
        case (.extensionToken, 0x3B), (.extensionValueToken, 0x3B), (.quotedEnd, 0x3B): state = .extensionName
        case (.extensionToken, 0x0D), (.extensionValueToken, 0x0D), (.quotedEnd, 0x0D): state = .sizeLineFeed
        default: throw .malformedChunkExtension
        }
    }

    /// - Parameter start: where the trailer section starts in `bytes`; framing stands in front of it.
    private mutating func parseTrailers(_ bytes: RawSpan, from start: Int) throws(HTTPParseError) -> Step {
        if start > 0 { trailers.reset(at: start) }
        let end = min(bytes.byteCount, start + limits.trailerBytesMax)
        while true {
            let step: FieldSection.Step
            do throws(HTTPParseError) {
                step = try trailers.next(
                    bytes, to: end, fieldsMax: limits.trailersMax, nameBytesMax: limits.fieldNameBytesMax)
            } catch {
                throw error == .tooManyFields ? .tooManyTrailers : error
            }
            switch step {
            case .field(let field):
                trailerLines += 1
                guard trailerLines <= limits.trailersMax else { throw .tooManyTrailers }
                if !field.known.isForbiddenInTrailers { trailers.record(field) }
            case .end:
                state = .finished
                return .finished(consumed: trailers.position)
            case .needMore:
                guard bytes.byteCount - start < limits.trailerBytesMax else { throw .trailersTooLarge }
                // Offsets found so far count from here on without the framing in front.
                if start > 0 {
                    trailers.reset(at: 0)
                    trailerLines = 0
                }
                return .needMore(consumed: start)
            }
        }
    }
}
