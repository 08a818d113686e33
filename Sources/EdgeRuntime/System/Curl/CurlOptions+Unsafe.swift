internal import CCurl
internal import Glibc

/// How a transfer becomes options and callbacks of an easy handle. The engine's thread only.
enum CurlOptions {
    /// Sets a fresh or reset handle up; the returned list lives until the transfer has ended.
    static func apply(
        _ transfer: CurlTransfer, to handle: UnsafeMutableRawPointer
    ) -> UnsafeMutablePointer<curl_slist>? {
        func set(_ option: CURLoption, _ value: Int) { unsafe edge_curl_set_long(handle, option, value) }
        func set(_ option: CURLoption, _ value: String) { unsafe edge_curl_set_string(handle, option, value) }
        let request = transfer.request
        set(CURLOPT_URL, request.url)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_PROXY, "")  // Neither a proxy, nor the environment's variables for one.
        set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_HTTP_CONTENT_DECODING, 0)
        // One request per connection at a time: a paused body then holds up nobody else's.
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        if let authorities = request.authorities { set(CURLOPT_CAINFO, authorities) }
        set(CURLOPT_BUFFERSIZE, 64 << 10)
        set(CURLOPT_UPLOAD_BUFFERSIZE, 64 << 10)
        set(CURLOPT_CONNECTTIMEOUT_MS, 600_000)  // The transfer's own clock ends it long before.
        // A cancelled transfer must not wait for the resolver's thread, which may hang for minutes.
        set(CURLOPT_QUICK_EXIT, 1)
        let context = unsafe Unmanaged.passUnretained(transfer).toOpaque()
        unsafe edge_curl_set_callbacks(
            handle, context, receiveHeader, receiveBody, upload, rewind, openSocket, willSend)
        return unsafe setMethod(request, handle)
    }

    static func error(_ code: CURLcode) -> CurlError {
        // SAFETY: libcurl's texts are constants.
        .failed(code: Int32(code.rawValue), unsafe String(cString: curl_easy_strerror(code)))
    }

    private static func setMethod(
        _ request: CurlRequest, _ handle: UnsafeMutableRawPointer
    ) -> UnsafeMutablePointer<curl_slist>? {
        var lines = request.headers.map { $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)" }
        // What libcurl would add by itself; a name without a value takes it away.
        for name in ["accept", "expect"] where !request.headers.contains(where: { $0.name == name }) {
            lines.append("\(name):")
        }
        var length: Int64?
        switch request.body {
        case .none:
            if request.method == "HEAD" {
                unsafe edge_curl_set_long(handle, CURLOPT_NOBODY, 1)
            } else {
                unsafe edge_curl_set_long(handle, CURLOPT_HTTPGET, 1)
                unsafe edge_curl_set_string(handle, CURLOPT_CUSTOMREQUEST, request.method)
            }
            // RFC 9110 §8.6: a method for which a body would have a meaning says that there is none.
            if ["POST", "PUT", "PATCH"].contains(request.method) { lines.append("content-length: 0") }
            return unsafe list(lines, handle)
        case .bytes(let bytes): length = Int64(bytes.count)
        case .streamed(let declared):
            length = declared
            // A kept connection may be dead, and a stream can't be sent twice.
            unsafe edge_curl_set_long(handle, CURLOPT_FRESH_CONNECT, 1)
        }
        unsafe edge_curl_set_long(handle, CURLOPT_UPLOAD, 1)
        unsafe edge_curl_set_string(handle, CURLOPT_CUSTOMREQUEST, request.method)
        unsafe edge_curl_set_offset(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(length ?? -1))
        return unsafe list(lines, handle)
    }

    private static func list(
        _ lines: [String], _ handle: UnsafeMutableRawPointer
    ) -> UnsafeMutablePointer<curl_slist>? {
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines { if let longer = unsafe curl_slist_append(list, line) { unsafe list = longer } }
        unsafe edge_curl_set_list(handle, CURLOPT_HTTPHEADER, list)
        return unsafe list
    }
}

// MARK: Callbacks. Each is called by libcurl on the engine's thread, with the transfer as its context.

/// The transfer behind a callback's context; the engine holds it while its handle is in the multi.
private func transfer(_ context: UnsafeMutableRawPointer?) -> CurlTransfer? {
    guard let context = unsafe context else { return nil }
    return unsafe Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
}

private let receiveHeader: curl_write_callback = { bytes, size, count, context in
    guard let transfer = unsafe transfer(context) else { return 0 }
    let line = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
    return unsafe transfer.receive(headerLine: line) == .taken ? size * count : 0
}

private let receiveBody: curl_write_callback = { bytes, size, count, context in
    guard let transfer = unsafe transfer(context) else { return 0 }
    switch unsafe transfer.receive(body: UnsafeRawBufferPointer(start: bytes, count: size * count)) {
    case .taken: return size * count
    case .pause: return Int(CURL_WRITEFUNC_PAUSE)
    case .abort: return size * count == 0 ? 1 : 0  // Any other number than what was offered.
    }
}

private let upload: curl_read_callback = { buffer, size, count, context in
    guard let transfer = unsafe transfer(context) else { return Int(CURL_READFUNC_ABORT) }
    let target = unsafe UnsafeMutableRawBufferPointer(start: buffer, count: size * count)
    do throws(CurlError) {
        return unsafe try transfer.upload(into: target) ?? Int(CURL_READFUNC_PAUSE)
    } catch { return Int(CURL_READFUNC_ABORT) }
}

private let rewind: curl_seek_callback = { context, offset, origin in
    guard let transfer = unsafe transfer(context), offset == 0, origin == SEEK_SET, transfer.rewind() else {
        return Int32(CURL_SEEKFUNC_FAIL)
    }
    return Int32(CURL_SEEKFUNC_OK)
}

private let openSocket: curl_opensocket_callback = { context, _, address in
    guard let transfer = unsafe transfer(context), let address = unsafe address,
        let peer = unsafe PeerAddress(address), transfer.mayConnect(to: peer)
    else { return -1 }  // CURL_SOCKET_BAD
    let flags = unsafe Int32(address.pointee.socktype) | Int32(SOCK_CLOEXEC.rawValue)
    return unsafe socket(address.pointee.family, flags, address.pointee.`protocol`)
}

private let willSend: curl_prereq_callback = { context, address, _, _, _ in
    guard let transfer = unsafe transfer(context), let address = unsafe address,
        let peer = PeerAddress(unsafe String(cString: address)), transfer.mayConnect(to: peer)
    else { return CURL_PREREQFUNC_ABORT }
    transfer.willSend()
    return CURL_PREREQFUNC_OK
}
