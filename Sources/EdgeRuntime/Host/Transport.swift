internal import CLinux
internal import Glibc
internal import System
internal import TLS
internal import Wire

/// What one attempt to read or write came to.
enum TransferResult {
    case moved(Int)
    /// Nothing now; epoll will tell.
    case wouldBlock
    /// The peer is gone, by whatever road.
    case closed
}

/// The way a connection's or a channel's bytes take: a plain socket, or TLS on one (`Transport+TLS.swift`).
struct Transport: ~Copyable {
    private let descriptor: Descriptor
    /// `nil`: bytes go as they are.
    private(set) var tls: TLSSession?

    init(_ descriptor: consuming Descriptor, tls: TLSSession? = nil) {
        self.descriptor = descriptor
        self.tls = tls
    }

    var rawValue: Int32 { descriptor.rawValue }

    /// Reads once, at most `limit` bytes.
    func read(into buffer: inout ByteBuffer, upTo limit: Int) -> TransferResult {
        if let tls { return Self.read(tls, into: &buffer, upTo: limit) }
        var result = 0
        _ = unsafe buffer.withWritable(atLeast: limit) { room in
            repeat {
                // SAFETY: the kernel writes at most `limit` bytes, which `withWritable` has lent.
                unsafe result = recv(descriptor.rawValue, room.baseAddress, limit, 0)
            } while result < 0 && errno == EINTR
            return max(0, result)
        }
        if result > 0 { return .moved(result) }
        if result < 0, errno == EAGAIN || errno == EWOULDBLOCK { return .wouldBlock }
        return .closed
    }

    /// Writes what it can of `buffer` and consumes it.
    ///
    /// - Parameter moreFollows: what is written may wait for what comes right behind it, to go out in one packet.
    func write(from buffer: inout ByteBuffer, moreFollows: Bool = false) -> TransferResult {
        if let tls { return Self.write(tls, from: &buffer) }
        var total = 0
        let flags = Int32(MSG_NOSIGNAL) | (moreFollows ? Int32(MSG_MORE) : 0)
        while !buffer.isEmpty {
            let written = unsafe buffer.withReadable { bytes -> Int in
                // SAFETY: send reads only the bytes that the buffer lends.
                unsafe Glibc.send(descriptor.rawValue, bytes.baseAddress, bytes.count, flags)
            }
            if written > 0 {
                let wasAll = written == buffer.readableByteCount
                buffer.consume(written)
                total += written
                if wasAll { break }
            } else if written < 0, errno == EINTR {
                continue
            } else if written < 0, errno == EAGAIN || errno == EWOULDBLOCK {
                return total > 0 ? .moved(total) : .wouldBlock
            } else {
                return .closed
            }
        }
        return .moved(total)
    }

    /// Sends what it can of the `last` bytes of an array.
    func send(_ bytes: [UInt8], last count: Int) -> TransferResult {
        if let tls { return Self.send(tls, bytes, last: count) }
        while true {
            // SAFETY: send reads only the bytes that the array lends.
            let sent = unsafe bytes.withUnsafeBytes { bytes in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes.suffix(count))
                return unsafe Glibc.send(descriptor.rawValue, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            if sent >= 0 { return .moved(sent) }
            if errno == EINTR { continue }
            return errno == EAGAIN || errno == EWOULDBLOCK ? .wouldBlock : .closed
        }
    }

    /// Sends bytes of a file, at most 1 MiB; without copying them through this process, unless that has to encrypt them.
    func sendFile(_ slice: Int32, offset: inout Int64, count: Int) -> TransferResult {
        if let tls { return Self.sendFile(tls, slice, offset: &offset, count: min(count, 1 << 20)) }
        while true {
            // SAFETY: the offset is the only memory the call writes to.
            let sent = unsafe edge_sendfile(descriptor.rawValue, slice, &offset, min(count, 1 << 20))
            if sent > 0 { return .moved(sent) }
            if sent < 0, errno == EINTR { continue }
            if sent < 0, errno == EAGAIN || errno == EWOULDBLOCK { return .wouldBlock }
            return .closed  // Zero: the file is shorter than it was, which an immutable file never is.
        }
    }

    /// Ends the sending direction: the peer reads what was sent, then the end.
    ///
    /// While `waitsToWrite`, that isn't done yet and is to be called again. What is read afterwards is for the bin alone: on a
    /// TLS connection it is no longer decrypted.
    mutating func shutdownSending() {
        if let tls {
            guard tls.endSending() != .wantsWrite else { return }
            becomePlain()
        }
        _ = shutdown(descriptor.rawValue, Int32(SHUT_WR))
    }

    /// From now on bytes go through `session`.
    mutating func secure(by session: TLSSession) { tls = session }

    /// Gives up TLS on the connection.
    mutating func becomePlain() { tls = nil }

    /// Gives the socket away; for one without TLS.
    consuming func release() -> Int32 { descriptor.release() }

    /// - Parameter isComplete: all was sent that the peer was promised. A TLS client that isn't told of the end knows that
    ///   something is missing.
    consuming func close(isComplete: Bool = true) {
        if isComplete, let tls { _ = tls.endSending() }
        do { try descriptor.close() } catch {}  // Closing a socket can't fail in a way that leaves something to do.
    }
}
