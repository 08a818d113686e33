internal import Glibc
internal import HTTP
package import System

/// A client's end of a connection to the node's own public listener, without the network in between: what is written takes the
/// way of all requests. Blocking, each call with an end; one thread at a time.
package final class LoopbackSocket: Sendable {
    private let descriptor: Descriptor

    fileprivate init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// - Returns: whether all of it was taken before `deadline`.
    package func write(_ bytes: [UInt8], before deadline: ContinuousClock.Instant) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let sent = unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: send reads the bytes behind the offset, which are lent.
                unsafe send(
                    descriptor.rawValue, buffer.baseAddress?.advanced(by: offset), bytes.count - offset, Int32(MSG_NOSIGNAL))
            }
            if sent > 0 {
                offset += sent
            } else if errno == EAGAIN || errno == EWOULDBLOCK {
                guard wait(for: Int16(POLLOUT), until: deadline) else { return false }
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }

    /// - Returns: what has come, at most 64 KiB; empty at the end; `nil` when nothing came before `deadline`.
    package func read(before deadline: ContinuousClock.Instant) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let received = unsafe bytes.withUnsafeMutableBytes { buffer in
                // SAFETY: recv writes at most as many bytes as are lent.
                unsafe recv(descriptor.rawValue, buffer.baseAddress, buffer.count, 0)
            }
            if received >= 0 { return Array(bytes.prefix(received)) }
            if errno == EAGAIN || errno == EWOULDBLOCK {
                guard wait(for: Int16(POLLIN), until: deadline) else { return nil }
            } else if errno != EINTR {
                return []
            }
        }
    }

    private func wait(for events: Int16, until deadline: ContinuousClock.Instant) -> Bool {
        let left = (deadline - .now).wholeNanoseconds
        guard left > 0 else { return false }
        var wanted = pollfd(fd: descriptor.rawValue, events: events, revents: 0)
        // SAFETY: poll fills the one struct that it is given.
        let count = unsafe poll(&wanted, 1, Int32(clamping: left / 1_000_000 + 1))
        return count > 0 || count < 0 && errno == EINTR
    }
}

extension Node {
    /// Connects to the node as a client from this machine would: with https where any public listener speaks it.
    ///
    /// - Throws: when the node takes no more connections.
    package func connectToItself() async throws(SystemError) -> LoopbackSocket {
        var pair: [Int32] = [0, 0]
        // SAFETY: socketpair fills the two integers.
        guard
            unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair)
                == 0
        else { throw SystemError("socketpair", errno: errno) }
        let socket = LoopbackSocket(Descriptor(owning: pair[0]))
        let (reactor, context, number) = (reactors[0], self.context, pair[1])
        let failure: SystemError? = await reactor.call {
            let end = Descriptor(owning: number)
            let isSecure = reactor.listeners.contains { listener in
                if case .tls = listener.security { listener.publicPort != nil } else { false }
            }
            let client = Client(NetworkAddress(bytes: [127, 0, 0, 1]), isTrusted: false, scheme: isSecure ? .https : .http)
            guard context.admission.admit(client.address, isExempt: false) else {
                return SystemError("connect", errno: ECONNREFUSED)
            }
            do throws(SystemError) {
                _ = try Connection(end, client: client, role: .edge, security: .plain, reactor: reactor, node: context)
                return nil
            } catch {
                context.admission.leave(client.address, isExempt: false)
                return error
            }
        }
        if let failure { throw failure }
        return socket
    }

    /// For what the node itself asks others.
    package var outbound: OutboundClient { reactors[0].outbound }
}
