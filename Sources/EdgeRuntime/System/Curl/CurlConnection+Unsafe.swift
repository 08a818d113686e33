internal import CCurl
internal import Glibc

/// A connection to a server, with TLS where its URL says so, for a protocol that libcurl itself doesn't speak
/// (CURLOPT_CONNECT_ONLY). It blocks its thread: for commands, never for a node. One thread at a time.
@safe package final class CurlConnection {
    private let handle: UnsafeMutableRawPointer

    /// Resolves, connects, and shakes hands.
    ///
    /// - Parameters:
    ///   - origin: `http` or `https`, host and port.
    ///   - authorities: A file of certificates in PEM, by which an https server is judged; `nil` for the system's.
    package init(to origin: String, authorities: String?, timeout: Duration) throws(CurlError) {
        precondition(CurlCommands.isReady, "libcurl starts unless memory is exhausted")
        guard let handle = unsafe curl_easy_init() else { throw CurlOptions.error(CURLE_OUT_OF_MEMORY) }
        unsafe self.handle = handle
        func set(_ option: CURLoption, _ value: Int) { unsafe edge_curl_set_long(handle, option, value) }
        func set(_ option: CURLoption, _ value: String) { unsafe edge_curl_set_string(handle, option, value) }
        set(CURLOPT_URL, origin)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_CONNECT_ONLY, 1)
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOSIGNAL, 1)
        // What is agreed upon in the handshake: no other version can be upgraded.
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        if let authorities { set(CURLOPT_CAINFO, authorities) }
        set(CURLOPT_CONNECTTIMEOUT_MS, Int(timeout.components.seconds * 1000))
        let code = unsafe curl_easy_perform(handle)
        guard code == CURLE_OK else { throw CurlOptions.error(code) }
    }

    deinit { unsafe curl_easy_cleanup(handle) }

    /// Returns when all of `bytes` is on its way.
    package func send(_ bytes: [UInt8]) throws(CurlError) {
        var offset = 0
        while offset < bytes.count {
            var count = 0
            // SAFETY: the library reads at most what the array holds behind `offset`, during the call only.
            let code = unsafe bytes.withUnsafeBytes { buffer in
                unsafe curl_easy_send(handle, buffer.baseAddress?.advanced(by: offset), buffer.count - offset, &count)
            }
            offset += count
            if code == CURLE_AGAIN {
                _ = wait(for: Int16(POLLOUT), .seconds(60))
            } else if code != CURLE_OK {
                throw CurlOptions.error(code)
            }
        }
    }

    /// What has come, at most 64 KiB; empty at the end, `nil` when nothing comes for as long as `patience`.
    package func receive(patience: Duration) throws(CurlError) -> [UInt8]? {
        var room = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            var count = 0
            // SAFETY: the library writes at most as many bytes as the array has.
            let code = unsafe room.withUnsafeMutableBytes { buffer in
                unsafe curl_easy_recv(handle, buffer.baseAddress, buffer.count, &count)
            }
            if code == CURLE_OK { return Array(room.prefix(count)) }
            guard code == CURLE_AGAIN else { throw CurlOptions.error(code) }
            guard wait(for: Int16(POLLIN), patience) else { return nil }
        }
    }

    private func wait(for events: Int16, _ patience: Duration) -> Bool {
        var target = pollfd(fd: unsafe edge_curl_socket(handle), events: events, revents: 0)
        let milliseconds = Int32(clamping: patience.components.seconds * 1000)
        while true {
            // SAFETY: poll fills the one struct whose address it is given.
            let count = unsafe poll(&target, 1, milliseconds)
            if count < 0, errno == EINTR { continue }
            return count > 0
        }
    }
}
