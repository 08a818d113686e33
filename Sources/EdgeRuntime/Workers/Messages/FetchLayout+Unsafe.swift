internal import Caching
internal import Interfaces
internal import Wire

// The message of a fetch, in both directions (little-endian):
//
//     request  flags u8 (bit 0: a body follows), method u8 (0: u8 length and bytes follow), body length i64 (-1 unknown),
//              url (u32 length), the client's Accept-Encoding (u32 length), headers
//     reply    status u16, flags u8 (bit 0: a body follows, bit 1: it is encoded already, bit 2: the node keeps the WebSocket,
//              and a `HibernationMessage` follows the headers), body length i64, spliced stream u32, headers
//     headers  count u16, then per header: name length u16, value length u32, name, value

/// Reads the layout from a message. Each read checks what is left.
private struct FetchReader {
    let block: [UInt8]
    private(set) var offset = 0

    init(_ block: [UInt8]) { self.block = block }

    mutating func takeUInt8() throws(WireError) -> UInt8 { block[try takeRange(1).lowerBound] }

    mutating func takeUInt16() throws(WireError) -> UInt16 {
        let start = try takeRange(2).lowerBound
        return unsafe block.span.bytes.littleEndianUInt16(at: start)
    }

    mutating func takeUInt32() throws(WireError) -> UInt32 {
        let start = try takeRange(4).lowerBound
        return unsafe block.span.bytes.littleEndianUInt32(at: start)
    }

    mutating func takeInt64() throws(WireError) -> Int64 {
        let low = try takeUInt32()
        return Int64(bitPattern: UInt64(low) | UInt64(try takeUInt32()) << 32)
    }

    mutating func takeRange(_ count: Int) throws(WireError) -> Range<Int> {
        guard block.count - offset >= count else { throw .truncated(offset: offset) }
        defer { offset += count }
        return offset..<(offset + count)
    }
}

/// Where things stand in a request's bytes. Making one checks them all.
struct FetchLayout {
    let hasBody: Bool
    let method: Method
    /// `nil` when the sender doesn't know.
    let bodyLength: Int?
    let urlRange: Range<Int>
    let encodingRange: Range<Int>
    /// `u16`; the headers stand behind it.
    let headerCount: Int
    let headersStart: Int

    /// - Throws: when the headers aren't what their lengths say.
    func headers(_ block: [UInt8]) throws(WireError) -> Headers {
        var offset = headersStart
        let headers = try Headers(message: block, count: headerCount, from: &offset)
        guard offset == block.count else { throw .invalidValue("trailing bytes", offset: offset) }
        return headers
    }

    init(_ block: [UInt8]) throws(WireError) {
        var reader = FetchReader(block)
        let flags = try reader.takeUInt8()
        guard flags & ~3 == 0 else { throw .invalidValue("fetch flags", offset: 0) }
        hasBody = flags & 1 != 0
        switch try reader.takeUInt8() {
        case 0:
            let range = try reader.takeRange(Int(try reader.takeUInt8()))
            let name = String(decoding: block[range], as: UTF8.self)
            guard Method(validating: name) != nil else { throw .invalidValue("method", offset: range.lowerBound) }
            method = Method(rawValue: name)  // As it came: methods are case-sensitive (RFC 9110 §9.1).
        case 1: method = .get
        case 2: method = .head
        case 3: method = .post
        case 4: method = .put
        case 5: method = .delete
        case 6: method = .options
        case 7: method = .patch
        default: throw .invalidValue("method", offset: 1)
        }
        let length = try reader.takeInt64()
        guard length >= -1 else { throw .invalidValue("body length", offset: reader.offset - 8) }
        bodyLength = length < 0 ? nil : Int(length)
        urlRange = try reader.takeRange(Int(try reader.takeUInt32()))
        encodingRange = try reader.takeRange(Int(try reader.takeUInt32()))
        headerCount = Int(try reader.takeUInt16())
        headersStart = reader.offset
    }
}

/// The reply to a request that this isolate sent.
struct FetchReplyHead {
    let status: Int
    let hasBody: Bool
    let isEncoded: Bool
    let bodyLength: Int?
    let headers: Headers

    init(_ message: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(message)
        status = Int(try decoder.takeUInt16())
        let flags = try decoder.takeUInt8()
        hasBody = flags & 1 != 0
        isEncoded = flags & 2 != 0
        let length = try decoder.takeInt64()
        bodyLength = length < 0 ? nil : Int(length)
        _ = try decoder.takeUInt32()
        let count = Int(try decoder.takeUInt16())
        var offset = decoder.offset
        headers = try Headers(message: message, count: count, from: &offset)
    }
}

extension ByteBuffer {
    /// The reply to a fetch event, behind the status byte of the reply.
    mutating func appendFetchReply(
        _ response: Response, bodyLength: Int?, hasBody: Bool, spliceStream: UInt32 = 0, hibernates: Bool = false
    ) {
        appendLittleEndian(UInt16(truncatingIfNeeded: response.status))
        append((hasBody ? 1 : 0) | (response.encoding == .manual ? 2 : 0) | (hibernates ? 4 : 0) as UInt8)
        appendLittleEndian(Int64(bodyLength ?? -1))
        appendLittleEndian(spliceStream)
        appendLittleEndian(UInt16(truncatingIfNeeded: response.headers.wireCount))
        response.headers.encode(into: &self)
    }
}

extension Request {
    /// The message of a `subrequest` call, behind its prefix.
    ///
    /// - Parameter options: stand where a client's `Accept-Encoding` would: `nil` on the way to another worker.
    func encodedForSubrequest(redirect: RedirectMode, options: CacheOptions? = nil) -> [UInt8] {
        var message = WireEncoder(capacity: 256)
        message.put(redirect.rawValue)
        // Bit 1: made of bytes, which a redirect may want once more.
        message.put(body.map { $0.bytesInMemory == nil ? 1 : 3 as UInt8 } ?? 0)
        switch method {
        case .get: message.put(1 as UInt8)
        case .head: message.put(2 as UInt8)
        case .post: message.put(3 as UInt8)
        case .put: message.put(4 as UInt8)
        case .delete: message.put(5 as UInt8)
        case .options: message.put(6 as UInt8)
        case .patch: message.put(7 as UInt8)
        default:
            let name = Array(method.rawValue.utf8.prefix(255))
            message.put(0 as UInt8)
            message.put(UInt8(name.count))
            message.putRest(name)
        }
        message.put(Int64(body?.length ?? -1))
        if storage.block.isEmpty {
            message.put(url.href)
        } else {
            message.put(Array(storage.block[storage.urlRange]))
        }
        message.put(options.map { $0.isDefault ? [] : $0.encoded() } ?? [])
        message.put(UInt16(truncatingIfNeeded: headers.wireCount))
        message.putRest(headers.wireBytes)
        return message.bytes
    }
}

extension Headers {
    /// All headers as a fetch message has them, without their count.
    var wireBytes: [UInt8] {
        var buffer = ByteBuffer()
        encode(into: &buffer)
        return unsafe buffer.withReadable { unsafe [UInt8]($0) }
    }
}
