internal import CTLS
internal import Glibc
package import System

/// One side of TLS on one connected, nonblocking socket. One thread at a time.
///
/// The socket stays the caller's, who closes it after the session is gone. Its buffers are given back whenever they are empty,
/// so what an idle session holds is its keys.
@safe package final class TLSSession {
    private let pointer: OpaquePointer
    /// Lives as long as callbacks may come.
    private let context: AnyObject
    private var isBroken = false
    /// Input was read from the socket that nobody has asked for yet, and that epoll therefore won't report.
    package private(set) var hasUnread = false
    /// The handshake, reading or the end of sending can't go on before the socket takes bytes.
    package private(set) var waitsToWrite = false
    /// Whether anything of the client was looked at.
    package private(set) var hasBegun = false

    /// A record's payload, and so what one write is at most (RFC 8446 §5.1).
    package static let recordBytesMax = 16 << 10

    /// The server's side.
    ///
    /// - Throws: when there is no memory for it.
    package init(_ context: TLSContext, socket: Int32) throws(SystemError) {
        self.context = context
        unsafe pointer = try Self.make(context.pointer, socket)
        unsafe SSL_set_accept_state(pointer)
    }

    /// The client's side, which takes no other server than `host`.
    ///
    /// - Parameter host: A name, as certificates have it, or an address without brackets.
    /// - Throws: as above.
    package init(_ context: TLSClientContext, socket: Int32, host: String, isAddress: Bool) throws(SystemError) {
        self.context = context
        unsafe pointer = try Self.make(context.pointer, socket)
        unsafe SSL_set_connect_state(pointer)
        let isSet =
            isAddress
            ? unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(pointer), host) == 1
            : unsafe SSL_set1_host(pointer, host) == 1 && edge_tls_set_server_name(pointer, host) == 1
        guard isSet else {
            unsafe SSL_free(pointer)
            throw SystemError("SSL_set1_host", errno: EINVAL, on: host)
        }
    }

    private static func make(_ context: OpaquePointer, _ socket: Int32) throws(SystemError) -> OpaquePointer {
        ERR_clear_error()
        guard let pointer = unsafe SSL_new(context) else { throw SystemError("SSL_new", errno: ENOMEM) }
        guard unsafe SSL_set_fd(pointer, socket) == 1 else {
            unsafe SSL_free(pointer)
            throw SystemError("SSL_set_fd", errno: ENOMEM)
        }
        return unsafe pointer
    }

    deinit { unsafe SSL_free(pointer) }

    // MARK: Steps

    /// Goes on with the handshake; `moved(0)` when it is complete.
    package func handshake() -> TLSStep {
        hasBegun = true
        ERR_clear_error()
        let result = unsafe SSL_do_handshake(pointer)
        let step = result == 1 ? .moved(0) : step(after: result)
        waitsToWrite = step == .wantsWrite
        return step
    }

    /// Reads what is there, at most `room.count` bytes.
    package func read(into room: UnsafeMutableRawBufferPointer) -> TLSStep {
        waitsToWrite = false
        hasUnread = false
        var total = 0
        while total < room.count {
            ERR_clear_error()
            // SAFETY: the library writes at most the bytes that are left of the room.
            let result = unsafe SSL_read(pointer, room.baseAddress?.advanced(by: total), Int32(clamping: room.count - total))
            guard result > 0 else {
                let step = step(after: result)
                switch step {
                case .wantsWrite: waitsToWrite = true
                case .wantsRead: break
                // Told by the next read, after what came before it was taken.
                default: hasUnread = total > 0
                }
                return total > 0 ? .moved(total) : step
            }
            total += Int(result)
            // Without this look the last read of each turn would cost a system call that finds nothing.
            guard unsafe SSL_has_pending(pointer) == 1 else { return .moved(total) }
        }
        hasUnread = unsafe SSL_has_pending(pointer) == 1
        return .moved(total)
    }

    /// Writes one record, of the first bytes. After `wantsWrite`, the next write must begin with the same bytes.
    package func write(_ bytes: UnsafeRawBufferPointer) -> TLSStep {
        guard !isBroken else { return .failed(nil) }
        ERR_clear_error()
        // SAFETY: the library reads at most the bytes it is told about.
        let result = unsafe SSL_write(pointer, bytes.baseAddress, Int32(min(bytes.count, Self.recordBytesMax)))
        return result > 0 ? .moved(Int(result)) : step(after: result)
    }

    /// Writes bytes of a file: with the kernel's help where that encrypts (ktls), else by one record's worth of reading. After
    /// `wantsWrite`, the next write must be from the same place.
    ///
    /// A client that asks for new keys in the middle (KeyUpdate, RFC 8446 §4.6.3) ends its session with ktls: libssl 3.0
    /// can't give the kernel other keys. None of the usual clients does.
    package func sendFile(_ file: Int32, at offset: Int64, count: Int) -> TLSStep {
        guard !isBroken else { return .failed(nil) }
        if unsafe edge_tls_kernel_sends(pointer) != 0 {
            ERR_clear_error()
            let sent = unsafe SSL_sendfile(pointer, file, off_t(offset), count, 0)
            return sent > 0 ? .moved(Int(sent)) : step(after: Int32(clamping: sent))
        }
        return unsafe withUnsafeTemporaryAllocation(byteCount: Self.recordBytesMax, alignment: 16) { room in
            var result = 0
            repeat {
                // SAFETY: at most what was allocated is read.
                result = unsafe pread(file, room.baseAddress, min(count, room.count), off_t(offset))
            } while result < 0 && errno == EINTR
            // Zero: the file is shorter than it was, which an immutable file never is.
            guard result > 0 else { return .failed(nil) }
            return unsafe write(UnsafeRawBufferPointer(rebasing: room[..<result]))
        }
    }

    /// Tells the peer that nothing more comes (close_notify). Only `wantsWrite` means that it isn't told yet.
    package func endSending() -> TLSStep {
        guard !isBroken, unsafe SSL_is_init_finished(pointer) == 1 else { return .ended }
        ERR_clear_error()
        let result = unsafe SSL_shutdown(pointer)
        let step = result >= 0 ? .moved(0) : step(after: result)
        waitsToWrite = step == .wantsWrite
        return step
    }

    private func step(after result: Int32) -> TLSStep {
        switch unsafe SSL_get_error(pointer, result) {
        case SSL_ERROR_WANT_READ: return .wantsRead
        case SSL_ERROR_WANT_WRITE: return .wantsWrite
        case SSL_ERROR_ZERO_RETURN: return .ended
        default:
            isBroken = true
            return .failed(TLSError.takeReason())
        }
    }

    // MARK: What was agreed on

    /// `nil` when the client offered none.
    package var applicationProtocol: ApplicationProtocol? {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(pointer, &name, &count)
        // SAFETY: the name lives as long as the session.
        return unsafe ApplicationProtocol(
            rawValue: String(decoding: UnsafeBufferPointer(start: name, count: Int(count)), as: UTF8.self))
    }

    /// 2 for TLS 1.2: the version's second part, once the handshake has ended.
    package var minorVersion: Int { Int(unsafe SSL_version(pointer)) - 0x0301 }

    /// The name of the cipher suite, once the handshake has ended.
    package var cipher: String {
        // SAFETY: names are constants of the library.
        unsafe SSL_CIPHER_get_name(SSL_get_current_cipher(pointer)).map { unsafe String(cString: $0) } ?? ""
    }

    /// Why the peer's certificate isn't taken; `nil` when nothing speaks against it.
    package var certificateProblem: String? {
        let code = unsafe SSL_get_verify_result(pointer)
        // SAFETY: the library's texts are constants.
        return code == Int(X509_V_OK) ? nil : unsafe String(cString: X509_verify_cert_error_string(code))
    }

    package var isResumed: Bool { unsafe SSL_session_reused(pointer) == 1 }
}
