internal import CNghttp2

/// A callback's word that the session is to end.
private let callbackFailure = NGHTTP2_ERR_CALLBACK_FAILURE.rawValue

/// The server's side of one HTTP/2 connection: eats the client's bytes, makes the server's. One thread.
@safe package final class HTTP2Session {
    private var pointer: OpaquePointer?
    private unowned let delegate: any HTTP2SessionDelegate
    /// Of a head that is being submitted: names in lower case and the status. Kept for the next one.
    private var names: UnsafeMutableBufferPointer<UInt8>
    private var fields: [nghttp2_nv] = unsafe []

    /// What the library may keep for names and values that go out (the product's limit, and what the library adds).
    private static let sentHeadBytesMax = 256 << 10

    /// - Parameter delegate: outlives the session.
    /// - Returns: `nil` when there is no memory for it.
    package init?(_ limits: HTTP2Limits, delegate: any HTTP2SessionDelegate) {
        self.delegate = delegate
        unsafe names = .allocate(capacity: 1 << 10)
        var callbacks: OpaquePointer?
        var options: OpaquePointer?
        defer {
            unsafe nghttp2_session_callbacks_del(callbacks)
            unsafe nghttp2_option_del(options)
        }
        guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0, unsafe nghttp2_option_new(&options) == 0 else {
            return nil
        }
        unsafe Self.install(callbacks)
        unsafe nghttp2_option_set_no_auto_window_update(options, 1)
        unsafe nghttp2_option_set_no_closed_streams(options, 1)
        unsafe nghttp2_option_set_max_send_header_block_length(options, Self.sentHeadBytesMax)
        // SAFETY: the session keeps the pointer to this object, and is deleted before it is gone.
        let owner = unsafe Unmanaged.passUnretained(self).toOpaque()
        guard unsafe nghttp2_session_server_new2(&pointer, callbacks, owner, options) == 0, announce(limits) else {
            return nil
        }
    }

    deinit {
        unsafe nghttp2_session_del(pointer)
        unsafe names.deallocate()
    }

    private func announce(_ limits: HTTP2Limits) -> Bool {
        func entry(_ name: nghttp2_settings_id, _ value: UInt32) -> nghttp2_settings_entry {
            nghttp2_settings_entry(settings_id: Int32(name.rawValue), value: value)
        }
        var entries = [
            entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streamsMax),
            entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, UInt32(limits.streamWindow)),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.fieldBytesMax),
            // No tree of priorities: it is deprecated, and its upkeep is the client's to abuse (RFC 9218 §2.1).
            entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
        ]
        if limits.takesProtocols { entries.append(entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1)) }
        return unsafe nghttp2_submit_settings(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count) == 0
            && nghttp2_session_set_local_window_size(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, limits.connectionWindow)
                == 0
    }

    // MARK: Bytes

    package enum Failure: Error, Equatable, Sendable {
        /// The delegate has had enough, or the library.
        case flooded
        /// These bytes are no HTTP/2.
        case malformed
        case outOfMemory
    }

    /// Reads all of `bytes`. After a failure nothing more is to be read; what says so to the client is to be sent.
    package func receive(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        guard let base = unsafe bytes.assumingMemoryBound(to: UInt8.self).baseAddress else { return }
        // SAFETY: the library reads the bytes that it is told about, during the call.
        let count = unsafe nghttp2_session_mem_recv(pointer, base, bytes.count)
        guard count < 0 else { return }
        switch Int32(count) {
        case NGHTTP2_ERR_CALLBACK_FAILURE.rawValue, NGHTTP2_ERR_FLOODED.rawValue, NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue:
            throw .flooded
        case NGHTTP2_ERR_NOMEM.rawValue: throw .outOfMemory
        default: throw .malformed
        }
    }

    /// The next bytes to send, valid until the next call; `nil` when there are none now. Bodies go by `delegate.send` meanwhile.
    package func nextOutput() -> UnsafeRawBufferPointer? {
        var start: UnsafePointer<UInt8>?
        let count = unsafe nghttp2_session_mem_send(pointer, &start)
        guard count > 0 else { return nil }
        return unsafe UnsafeRawBufferPointer(start: start, count: count)
    }

    package var wantsWrite: Bool { unsafe nghttp2_session_want_write(pointer) != 0 }
    /// The connection is over once this is so and all was written.
    package var isDone: Bool { unsafe nghttp2_session_want_read(pointer) == 0 && nghttp2_session_want_write(pointer) == 0 }

    // MARK: Windows

    package func giveBack(_ byteCount: Int, of stream: Int32) {
        unsafe _ = nghttp2_session_consume_stream(pointer, stream, byteCount)
    }

    package func giveBackToConnection(_ byteCount: Int) {
        unsafe _ = nghttp2_session_consume_connection(pointer, byteCount)
    }

    // MARK: Answers

    /// Submits the head of an answer.
    ///
    /// - Parameters:
    ///   - lines: fields as HTTP/1.1 writes them, each with its CRLF. Those that speak of the connection are left out.
    ///   - hasBody: whether `delegate` is asked for one; else the answer ends with its head.
    /// - Returns: false when the stream takes no answer any more.
    package func respond(_ stream: Int32, status: Int, lines: UnsafeRawBufferPointer, hasBody: Bool) -> Bool {
        unsafe makeFields(status: status, lines)
        defer { unsafe fields.removeAll(keepingCapacity: true) }
        var provider = unsafe Self.provider
        return unsafe fields.withUnsafeBufferPointer { fields in
            // SAFETY: the library copies names, values and the provider.
            unsafe withUnsafePointer(to: &provider) {
                unsafe nghttp2_submit_response(pointer, stream, fields.baseAddress, fields.count, hasBody ? $0 : nil) == 0
            }
        }
    }

    /// Asks for the body of a client that waits for that (RFC 9110 §10.1.1).
    package func submitContinue(_ stream: Int32) {
        unsafe makeFields(status: 100, UnsafeRawBufferPointer(start: nil, count: 0))
        defer { unsafe fields.removeAll(keepingCapacity: true) }
        unsafe fields.withUnsafeBufferPointer { fields in
            unsafe _ = nghttp2_submit_headers(
                pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, nil, fields.baseAddress, fields.count, nil)
        }
    }

    /// There is something to send on a stream whose body had nothing before.
    package func resume(_ stream: Int32) { unsafe _ = nghttp2_session_resume_data(pointer, stream) }

    package func reset(_ stream: Int32, _ code: HTTP2ErrorCode) {
        unsafe _ = nghttp2_submit_rst_stream(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
    }

    // MARK: The end

    /// Says that the connection will end; what the client has sent before it knows is still taken (RFC 9113 §6.8).
    package func announceEnd() {
        unsafe _ = nghttp2_submit_shutdown_notice(pointer)
        unsafe _ = nghttp2_submit_ping(pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
    }

    /// Takes no further requests; those that were taken are finished.
    package func takeNoMore() {
        unsafe _ = nghttp2_submit_goaway(
            pointer, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(pointer),
            HTTP2ErrorCode.noError.rawValue, nil, 0)
    }

    /// Ends the connection with what is said now.
    package func terminate(_ code: HTTP2ErrorCode) { unsafe _ = nghttp2_session_terminate_session(pointer, code.rawValue) }

    // MARK: Fields

    /// Fills `fields`. Their names are in `names`, their values where they came from.
    private func makeFields(status: Int, _ lines: UnsafeRawBufferPointer) {
        // The name of the first field and its three digits stand in front.
        let statusName = ":status" as StaticString
        let needed = lines.count + statusName.utf8CodeUnitCount + 3
        if unsafe names.count < needed {
            unsafe names.deallocate()
            unsafe names = .allocate(capacity: max(needed, 2 << 10))
        }
        guard let base = unsafe names.baseAddress else { return }
        // SAFETY: `names` has room for the status and as many bytes as the lines have, which is more than their names.
        unsafe base.update(from: statusName.utf8Start, count: statusName.utf8CodeUnitCount)
        var end = statusName.utf8CodeUnitCount
        for divisor in [100, 10, 1] {
            unsafe base[end] = UInt8(ascii: "0") + UInt8(status / divisor % 10)
            end += 1
        }
        unsafe add(base, end - 3, base + (end - 3), 3)
        var offset = 0
        while offset < lines.count {
            guard let line = unsafe Self.line(lines, from: offset) else { return }
            offset = line.next
            let name = unsafe base + end
            for index in 0..<line.name.count {
                let byte = unsafe lines[line.name.lowerBound + index]
                unsafe name[index] = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
            }
            guard unsafe !Self.isOfTheConnection(name, line.name.count), let start = lines.baseAddress else { continue }
            end += line.name.count
            let value = unsafe UnsafeMutableRawPointer(mutating: start + line.value.lowerBound)
            unsafe add(name, line.name.count, value.assumingMemoryBound(to: UInt8.self), line.value.count)
        }
    }

    /// One line: its name, its value without the space in front, and where the next begins.
    private static func line(
        _ bytes: UnsafeRawBufferPointer, from start: Int
    ) -> (name: Range<Int>, value: Range<Int>, next: Int)? {
        var colon = start
        while colon < bytes.count, unsafe bytes[colon] != UInt8(ascii: ":") { colon += 1 }
        var end = colon
        while end + 1 < bytes.count, unsafe bytes[end] != 0x0D || bytes[end + 1] != 0x0A { end += 1 }
        guard colon > start, end + 1 < bytes.count else { return nil }
        var value = colon + 1
        while value < end, unsafe bytes[value] == 0x20 { value += 1 }
        return (start..<colon, value..<end, end + 2)
    }

    private func add(
        _ name: UnsafeMutablePointer<UInt8>, _ nameByteCount: Int, _ value: UnsafeMutablePointer<UInt8>, _ valueByteCount: Int
    ) {
        // What is new in each answer would only drive the others from the table; what is secret is not to be guessed by it.
        let isIndexed = unsafe !Self.equals(name, nameByteCount, "cf-ray") && !Self.equals(name, nameByteCount, "set-cookie")
        unsafe fields.append(
            nghttp2_nv(
                name: name, value: value, namelen: nameByteCount, valuelen: valueByteCount,
                flags: UInt8((isIndexed ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX).rawValue)))
    }

    private static func equals(_ name: UnsafeMutablePointer<UInt8>, _ count: Int, _ literal: StaticString) -> Bool {
        guard count == literal.utf8CodeUnitCount else { return false }
        for index in 0..<count where unsafe name[index] != literal.utf8Start[index] { return false }
        return true
    }

    /// RFC 9113 §8.2.2.
    private static func isOfTheConnection(_ name: UnsafeMutablePointer<UInt8>, _ count: Int) -> Bool {
        switch count {
        case 7: unsafe equals(name, count, "upgrade")
        case 10: unsafe equals(name, count, "connection") || equals(name, count, "keep-alive")
        case 16: unsafe equals(name, count, "proxy-connection")
        case 17: unsafe equals(name, count, "transfer-encoding")
        default: false
        }
    }

    // MARK: Callbacks

    private static func of(_ data: UnsafeMutableRawPointer?) -> HTTP2Session? {
        guard let data = unsafe data else { return nil }
        // SAFETY: set in `init`; the session lives as long as the library calls for it.
        return unsafe Unmanaged<HTTP2Session>.fromOpaque(data).takeUnretainedValue()
    }

    private static func install(_ callbacks: OpaquePointer?) {
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, head, data in
            guard let session = unsafe HTTP2Session.of(data), let head = unsafe head?.pointee else { return callbackFailure }
            return session.delegate.frameBegan(HTTP2FrameHead(head)) ? 0 : callbackFailure
        }
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, data in
            guard let session = unsafe HTTP2Session.of(data), let frame = unsafe frame?.pointee else { return callbackFailure }
            if unsafe frame.headers.cat == NGHTTP2_HCAT_REQUEST { unsafe session.delegate.requestBegan(frame.hd.stream_id) }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, frame, name, nameCount, value, valueCount, _, data in
            guard let session = unsafe HTTP2Session.of(data), let frame = unsafe frame else { return callbackFailure }
            unsafe session.delegate.received(
                frame.pointee.hd.stream_id, name: UnsafeRawBufferPointer(start: name, count: nameCount),
                value: UnsafeRawBufferPointer(start: value, count: valueCount))
            return 0
        }
        // Otherwise the library would leave out what can't be a field, and take the rest.
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) { _, _, _, _, _, _, _, _ in
            NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, stream, bytes, count, data in
            guard let session = unsafe HTTP2Session.of(data) else { return callbackFailure }
            unsafe session.delegate.received(stream, body: UnsafeRawBufferPointer(start: bytes, count: count))
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, data in
            guard let session = unsafe HTTP2Session.of(data), let frame = unsafe frame else { return callbackFailure }
            unsafe session.received(frame.pointee)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, _, _, data in
            guard let session = unsafe HTTP2Session.of(data) else { return callbackFailure }
            return session.delegate.frameRefused() ? 0 : callbackFailure
        }
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, data in
            guard let session = unsafe HTTP2Session.of(data) else { return callbackFailure }
            session.delegate.streamClosed(stream, code: code)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, frame, head, count, _, data in
            guard let session = unsafe HTTP2Session.of(data), let frame = unsafe frame else { return callbackFailure }
            return unsafe session.send(frame.pointee, head, count)
        }
    }

    private func received(_ frame: nghttp2_frame) {
        let kind = unsafe HTTP2FrameHead.Kind(frame.hd.type)
        let stream = unsafe frame.hd.stream_id
        let hasFirstFlag = unsafe frame.hd.flags & 1 != 0
        switch kind {
        case .headers:
            guard unsafe frame.headers.cat == NGHTTP2_HCAT_REQUEST else {
                if hasFirstFlag { delegate.requestEnded(stream) }
                return
            }
            delegate.requestHeadEnded(stream, isWholeRequest: hasFirstFlag)
        case .data: if hasFirstFlag { delegate.requestEnded(stream) }
        case .ping: if hasFirstFlag { delegate.pingAnswered() }
        case .priority, .reset, .settings, .windowUpdate, .continuation, .other: break
        }
    }

    // MARK: Bodies

    /// Where the library gets an answer's body: from the delegate, by the number of the stream. The bytes themselves don't
    /// pass through the library.
    private static var provider: nghttp2_data_provider {
        unsafe nghttp2_data_provider(source: nghttp2_data_source()) { _, stream, _, most, flags, _, data in
            guard let session = unsafe HTTP2Session.of(data) else { return Int(callbackFailure) }
            guard let piece = session.delegate.nextPiece(stream, upTo: most) else { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
            unsafe flags?.pointee |= UInt32(NGHTTP2_DATA_FLAG_NO_COPY.rawValue)
            if piece.isLast { unsafe flags?.pointee |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue) }
            return piece.byteCount
        }
    }

    private func send(_ frame: nghttp2_frame, _ head: UnsafePointer<UInt8>?, _ byteCount: Int) -> Int32 {
        // SAFETY: the library lends the nine bytes of a frame's head.
        let frameHead = unsafe UnsafeRawBufferPointer(start: head, count: 9)
        let isLast = unsafe frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        let piece = HTTP2Piece(byteCount: byteCount, isLast: isLast)
        return switch unsafe delegate.send(frame.hd.stream_id, piece, frameHead: frameHead) {
        case .sent: 0
        case .wouldBlock: NGHTTP2_ERR_WOULDBLOCK.rawValue
        case .failed: NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
    }
}

extension HTTP2FrameHead {
    fileprivate init(_ head: nghttp2_frame_hd) {
        kind = Kind(head.type)
        stream = head.stream_id
        payloadByteCount = head.length
        hasFirstFlag = head.flags & 1 != 0
    }
}

extension HTTP2FrameHead.Kind {
    /// RFC 9113 §6.
    fileprivate init(_ type: UInt8) {
        self =
            switch type {
            case 0: .data
            case 1: .headers
            case 2: .priority
            case 3: .reset
            case 4: .settings
            case 6: .ping
            case 8: .windowUpdate
            case 9: .continuation
            default: .other
            }
    }
}
