internal import HTTP
internal import Interfaces
internal import Stores
internal import System
internal import Wire

/// The answer's way to the client.
extension HTTPStream: BodyConsumer {
    var httpStream: HTTPStream? { self }

    // MARK: Heads

    /// The head of a worker's answer. `message` is the whole of it; names and values are checked here, since nothing
    /// that an isolate says is believed.
    func sendHead(_ head: ReplyHead, _ message: UnsafeRawBufferPointer) throws(WireError) {
        let bytes = unsafe message.bytes
        exchange.shadow?.originalAnswered(head, bytes)
        let before = output.readableByteCount
        let compression: ResponseCompression
        do throws(WireError) {
            compression = try self.compression(of: head, bytes)
            if let named = try writeHead(head, bytes, coding: compression.coding) {
                // It names headers of its own that are the connection's, which is rare: once more without them.
                output.removeLast(output.readableByteCount - before)
                _ = try writeHead(head, bytes, coding: compression.coding, without: named)
            }
        } catch {
            // Nothing of a broken head may reach the client: the node answers instead.
            output.removeLast(output.readableByteCount - before)
            exchange.isHeadSent = false
            responseEncoder = nil
            throw error
        }
        compression.appendHeaders(to: &output)
        appendCacheStatus()
        // What a HEAD would have got as GET, the handler may know (RFC 9110 §8.6); without its word nothing is said.
        let bodyLength = head.hasBody ? head.bodyLength : exchange.isHead ? exchange.announced : head.bodyLength ?? 0
        // How long it is when it is compressed, only its end tells.
        finishHead(status: head.status, bodyLength: compression.coding == nil ? bodyLength : nil)
    }

    /// - Parameter named: names in lower case that are left out.
    /// - Returns: the names that a `Connection` header gives; `nil` when there are none beyond the usual.
    private func writeHead(
        _ head: ReplyHead, _ bytes: RawSpan, coding: ContentCoding?, without named: Set<String> = []
    ) throws(WireError) -> Set<String>? {
        var cursor = HeaderBlockCursor(count: head.headerCount, from: ReplyHead.byteCount)
        var options: Set<String> = []
        beginHead(head.status)
        while let entry = try cursor.next(bytes) {
            let name = bytes.extracting(entry.name.range)
            let value = bytes.extracting(entry.value.range)
            let known = KnownHeader.identify(name)
            if known == .other {
                guard HeaderRules.isValidName(name), !isInternalName(name), !takesCacheStatus(name, value) else { continue }
            } else if known.isHopByHop || isNodeHeader(known) {
                if known == .connection { options.formUnion(HopByHop.options([bytes.text(entry.value)])) }
                if known == .contentLength { exchange.announced = Int(bytes.text(entry.value)) }
                continue
            }
            guard HeaderRules.isValidValue(value) else { continue }
            if !named.isEmpty, named.contains(bytes.text(entry.name).lowercased()) { continue }
            if coding != nil {
                // Of the compressed body nothing can be asked in parts, and it equals no other byte for byte.
                if known == .other, bytes.text(entry.name).lowercased() == "accept-ranges" { continue }
                if known == .etag, value.byteCount > 0, value.byte(at: 0) == UInt8(ascii: "\"") {
                    output.append("ETag: W/" as StaticString)
                    output.append(bytes.text(entry.value))
                    output.append("\r\n" as StaticString)
                    continue
                }
            }
            output.appendHeader(name: name, value: value)
        }
        if !options.isEmpty { options.subtract(["close", "keep-alive", ""]) }
        return options.isEmpty || !named.isEmpty ? nil : options
    }

    /// - Parameter hasDate: whether `headers` have one; else the node says what time it is.
    func sendHead(
        status: Int, headers: [(name: String, value: String)], bodyLength: Int?, hasDate: Bool = false
    ) {
        beginHead(status)
        for header in headers {
            output.append(header.name)
            output.append(": " as StaticString)
            output.append(header.value)
            output.append("\r\n" as StaticString)
        }
        finishHead(status: status, bodyLength: bodyLength, hasDate: hasDate)
    }

    func beginHead(_ status: Int) {
        exchange.status = status
        exchange.isHeadSent = true
        output.appendStatusLine(status)
    }

    /// What only the node may say about its connection.
    @inline(__always)
    private func isNodeHeader(_ header: KnownHeader) -> Bool {
        switch header {
        case .contentLength, .cfRay, .date, .server: true
        default: false
        }
    }

    /// `X-Accel-*` and `Cloudflare-CDN-Cache-Control` steer this node and are none of the client's business.
    func isInternalName(_ name: RawSpan) -> Bool {
        // Which release answers, the node knows.
        if name.byteCount == 12, exchange.release?.headerLine != nil,
            unsafe name.withUnsafeBytes({ unsafe String(decoding: $0, as: UTF8.self).lowercased() == "edge-release" })
        {
            return true
        }
        if name.byteCount == 28, name.byte(at: 0) | 0x20 == 0x63, name.byte(at: 10) == 0x2D {
            return unsafe name.withUnsafeBytes {
                unsafe String(decoding: $0, as: UTF8.self).lowercased() == "cloudflare-cdn-cache-control"
            }
        }
        guard name.byteCount > 8, name.byte(at: 0) | 0x20 == 0x78, name.byte(at: 1) == 0x2D else { return false }
        return unsafe name.extracting(0..<8).withUnsafeBytes {
            unsafe String(decoding: $0, as: UTF8.self).lowercased() == "x-accel-"
        }
    }

    /// - Parameter bodyLength: `nil` when the body's end is known only when it comes.
    func finishHead(status: Int, bodyLength: Int?, hasDate: Bool = false) {
        output.append(hasDate ? reactor.cachedDate.linesBehindDate : reactor.cachedDate.lines)
        output.append(HexDigits(exchange.ray))
        output.append(0x2D)
        output.append(node.settings.colo)
        output.append("\r\n" as StaticString)
        if let line = exchange.release?.headerLine { output.append(line) }
        if let cookie = exchange.affinityCookie { output.append(cookie) }
        let hasNoBody = status == 204 || status == 304 || status < 200
        if hasNoBody {
            responseBody = .dropped
        } else if let bodyLength {
            output.appendContentLength(Int64(bodyLength))
            responseBody = exchange.isHead ? .dropped : .length(left: bodyLength)
        } else if exchange.isHead {
            responseBody = .dropped
        } else {
            responseBody = makeOpenBody()
        }
        endHead(hasLength: bodyLength != nil)
        markDirty()
    }

    // MARK: Bodies

    /// From here on copying a body costs more than one more system call.
    private static let apartBytesMin = 16 << 10

    /// Sends `body` behind the head.
    func startResponseBody(_ body: ReplyBody) {
        if case .dropped = responseBody {
            body.cancel(.cancelled)
            return completeResponse()
        }
        if responseEncoder != nil {
            // In steps that keep the others waiting for a millisecond or two at most.
            let producer = body.start(on: reactor, to: self, window: BodyEncoder.stepByteCount)
            guard phase == .exchanging else { return producer.cancel(.cancelled) }
            responseProducer = producer
            return
        }
        switch body {
        case .stored(.bytes(let bytes)):
            if case .length(bytes.count) = responseBody, bytes.count >= Self.apartBytesMin {
                exchange.shadow?.originalIsApart()
                responseBody = .bytes(bytes, left: bytes.count)
                return markDirty()
            }
            unsafe bytes.withUnsafeBytes { unsafe receive($0) }
            if phase == .exchanging { finish() }
        case .stored(.file(let slice)):
            exchange.shadow?.originalIsApart()
            guard case .length(let left) = responseBody, left == slice.byteCount else { return close() }
            responseBody = left > 0 ? .file(slice, offset: slice.offset, left: left, behind: 0) : .complete
            markDirty()
        case .stored(.stream(let source as any FileSequence)) where responseBody.hasLength:
            exchange.shadow?.originalIsApart()
            let producer = FilesProducer(source, to: self)
            responseProducer = producer
            producer.pull()
        case .stored(.stream), .stream, .redirected, .hibernating:
            let producer = body.start(on: reactor, to: self, window: WireLimits.initialCredit)
            // What had come already may have ended the connection.
            guard phase == .exchanging else { return producer.cancel(.cancelled) }
            responseProducer = producer
        }
    }

    /// The next of several files: it must not be more than was announced.
    func receive(file slice: FileSlice) {
        guard phase == .exchanging else { return }
        guard case .length(let left) = responseBody, slice.byteCount > 0, slice.byteCount <= left else {
            return abortResponse()
        }
        responseBody = .file(
            slice, offset: slice.offset, left: slice.byteCount, behind: left - slice.byteCount)
        markDirty()
    }

    func receive(_ bytes: UnsafeRawBufferPointer) {
        guard phase == .exchanging, unsafe !bytes.isEmpty else { return }
        unsafe exchange.shadow?.originalReceived(bytes)
        if let encoder = responseEncoder {
            guard unsafe encoder.take(bytes, { unsafe appendEncoded($0) }) else { return abortResponse() }
            took(bodyBytes: bytes.count)
            return markDirty()
        }
        switch responseBody {
        case .length(let left):
            // More than was announced: the client must not take it for the next answer.
            guard bytes.count <= left else { return abortResponse() }
            responseBody = .length(left: left - bytes.count)
            unsafe output.append(bytes)
        case .chunked:
            output.appendChunkHeader(byteCount: bytes.count)
            unsafe output.append(bytes)
            output.appendChunkEnd()
        case .untilClose: unsafe output.append(bytes)
        case .dropped, .none, .complete, .file, .bytes: break
        }
        took(bodyBytes: bytes.count)
        markDirty()
    }

    func finish() {
        guard phase == .exchanging else { return }
        if let encoder = responseEncoder {
            responseEncoder = nil
            guard unsafe encoder.finish({ unsafe appendEncoded($0) }) else { return abortResponse() }
        }
        switch responseBody {
        case .length(let left) where left > 0: return abortResponse()
        case .chunked: output.appendLastChunk()
        default: break
        }
        completeResponse()
    }

    func fail(_ reason: StreamReset) {
        guard phase == .exchanging else { return }
        abortResponse()
    }

    func completeResponse() {
        if case .length(let left) = responseBody, left > 0, !exchange.isHead { return abortResponse() }
        responseBody = .complete
        markDirty()
    }

    /// The answer can't be completed. HTTP/2 resets its stream; the only way to say so in HTTP/1.1 is to end the connection.
    func abortResponse() {
        exchange.cutShort()
        node.logger.log(
            .warning, "an answer was cut short", [("worker", exchange.site?.worker ?? exchange.route?.worker.name ?? "edge")])
        close()
    }

    // MARK: The node's own answers

    /// The request's number, as `CF-Ray` and the log have it.
    var rayText: String { RayID.text(exchange.ray, node.settings.colo) }

    func answer(_ error: EdgeError, detail: String? = nil, retryAfter: Duration = .seconds(1)) {
        guard phase == .waiting || phase == .exchanging, !exchange.isHeadSent else { return }
        phase = .exchanging
        exchange.failed(error)
        exchange.cacheFill = nil
        if exchange.unconsumedHead > 0, !exchange.mustClose { consumeHead() }
        let page = ErrorPage(
            error: error, ray: rayText, host: exchange.host, time: reactor.cachedDate.text,
            detail: node.settings.errorPages == .trace ? detail : nil)
        let wantsHTML = exchange.acceptsHTML
        let body = Array((wantsHTML ? page.html : page.plainText).utf8)
        var headers: [(name: String, value: String)] = [
            ("Content-Type", wantsHTML ? "text/html; charset=utf-8" : "text/plain; charset=utf-8"),
            ("Cache-Control", "private, no-store"),
        ]
        if error.mayRetry { headers.append(("Retry-After", "\(retryAfter.wholeSecondsUp)")) }
        sendHead(status: error.status, headers: headers, bodyLength: body.count)
        startResponseBody(.stored(.bytes(body)))
    }
}

extension Duration {
    /// As `Retry-After` has it: whole seconds, rounded up, at least one.
    fileprivate var wholeSecondsUp: Int64 { max(1, components.seconds + (components.attoseconds > 0 ? 1 : 0)) }
}
