internal import CLinux
internal import Glibc
internal import HTTP
internal import Observability
internal import Synchronization
package import System
package import TLS

/// Where a node listens. Reads `host:port`; port 0 lets the kernel choose.
package struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    package let host: String
    package let port: UInt16

    /// - Returns: `nil` when `text` is no `host:port` with a numeric host (`[::1]:80`, `127.0.0.1:0`, `*:8080`)
    ///   or `localhost`.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits) else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            guard host.contains(":") else { return nil }
        } else {
            // Without brackets nobody can tell which colon stands before the port.
            guard !host.contains(":") else { return nil }
        }
        if host == "localhost" { host = "127.0.0.1" }
        if host == "*" { host = "::" }
        guard NetworkAddress(text: host) != nil else { return nil }
        self.host = host
        self.port = port
    }

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Whether only this machine reaches it.
    package var isLoopback: Bool {
        guard let bytes = NetworkAddress(text: host)?.bytes else { return false }
        return bytes.count == 4 ? bytes[0] == 127 : bytes == Array(repeating: 0, count: 15) + [1]
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// What a listener's connections are for.
enum ListenerRole: Sendable {
    case edge
    case control
    case s3

    var listener: LocalRequest.Listener {
        switch self {
        case .edge: .edge
        case .control: .control
        case .s3: .s3
        }
    }

    init(_ listener: LocalRequest.Listener) {
        self =
            switch listener {
            case .edge: .edge
            case .control: .control
            case .s3: .s3
            }
    }
}

/// What a listener speaks with its clients.
package enum ListenerSecurity: Sendable {
    case plain
    /// Plain, and every request is sent to https at that port.
    case redirecting(toPort: UInt16)
    case tls(TLSContext)
}

/// A listening socket of one reactor. All reactors listen on the same address (`SO_REUSEPORT`), so the kernel spreads
/// connections over them without a lock between them.
final class Listener: PollTarget {
    private let reactor: Reactor
    private let node: NodeContext
    let role: ListenerRole
    /// Of connections that come from now on.
    var security: ListenerSecurity {
        didSet { client = nil }
    }
    /// `nil` when it isn't for clients.
    let publicPort: UInt16?
    let address: ListenAddress
    private var descriptor: Descriptor?
    /// The last connection's: many come from one address.
    private var client: Client?
    /// Nothing is accepted before the next tick: there was no descriptor left for it, and epoll would report the listener
    /// again at once.
    private var isPaused = false
    /// What it was asked to listen on: port 0 is another one in `address`.
    let asked: ListenAddress
    private var phase: Phase

    /// States, each with what ends it:
    /// - `bound`: the address is ours, and whoever comes is refused: a load balancer goes elsewhere at once; `open`.
    /// - `held`: who comes waits in the kernel; `open`.
    /// - `open`; `hold`, `close`.
    enum Phase { case bound, held, open }

    /// Connections taken per turn: more would starve those that are open.
    private static let acceptsPerTurn = 64

    init(
        _ descriptor: consuming Descriptor, asked: ListenAddress? = nil, address: ListenAddress, role: ListenerRole,
        security: ListenerSecurity, reactor: Reactor, node: NodeContext, phase: Phase = .held, opens: Bool = true
    ) throws(SystemError) {
        self.phase = phase
        self.asked = asked ?? address
        self.security = security
        self.reactor = reactor
        self.node = node
        self.role = role
        self.address = address
        let rawValue = descriptor.rawValue
        publicPort = role == .edge ? Self.port(of: rawValue) : nil
        self.descriptor = consume descriptor
        super.init()
        if opens { try open() }
    }

    /// Takes connections from now on.
    func open() throws(SystemError) {
        guard phase != .open, let rawValue = descriptor?.rawValue else { return }
        if phase == .bound { try Self.startListening(rawValue, at: address) }
        try reactor.watch(self, rawValue, .read)
        phase = .open
    }

    /// Leaves connections in the kernel from now on.
    func hold() {
        guard phase == .open, let rawValue = descriptor?.rawValue else { return }
        reactor.unwatch(self, rawValue)
        isPaused = false
        phase = .held
    }

    /// For the process that follows, which closes neither it nor its own.
    var rawValue: Int32? { descriptor?.rawValue }

    /// Closes this process' part of it: the kernel's queue is another's business now.
    func abandon() {
        hold()
        descriptor = nil
    }

    override func becameReady(_ events: Epoll.Interest) { _ = accept() }

    /// Takes connections that wait in the kernel.
    ///
    /// - Returns: whether there may be more.
    private func accept() -> Bool {
        guard let listening = descriptor?.rawValue else { return false }
        for _ in 0..<Self.acceptsPerTurn {
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let accepted = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
                // SAFETY: sockaddr_storage is large enough for any address, and the length says so.
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe edge_accept(listening, $0, &length)
                }
            }
            guard accepted >= 0 else {
                if errno == EINTR || errno == ECONNABORTED { continue }
                if errno == EMFILE || errno == ENFILE {
                    reactor.logger.log(.error, "no descriptor left for a new connection")
                    isPaused = true
                    reactor.change(self, listening, [])
                }
                return false
            }
            let socket = Descriptor(owning: accepted)
            let address = NetworkAddress(storage)
            open(socket, from: address)
        }
        return true
    }

    override func tick(_ now: Instant) {
        guard phase == .open, isPaused, let listening = descriptor?.rawValue else { return }
        isPaused = false
        reactor.change(self, listening, .read)
    }

    private func open(_ socket: consuming Descriptor, from address: NetworkAddress) {
        var one: Int32 = 1
        // SAFETY: the option's value is the integer whose address and size are given.
        _ = unsafe setsockopt(
            socket.rawValue, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        let client = client(at: address)
        guard node.admission.admit(address, isExempt: client.isTrusted) else {
            reactor.counters.connectionsRefused += 1
            return  // Closed unread: a peer that opens too many gets no answer to work with.
        }
        do {
            _ = try Connection(socket, client: client, role: role, security: security, reactor: reactor, node: node)
        } catch {
            node.admission.leave(address, isExempt: client.isTrusted)
            reactor.logger.log(.error, "cannot watch a connection: \(error)")
        }
    }

    private func client(at address: NetworkAddress) -> Client {
        if let client, client.address == address { return client }
        let scheme: RouteScheme = if case .tls = security { .https } else { .http }
        let client = Client(
            address, isTrusted: node.trustedProxies.withLock { $0.contains(address) }, scheme: scheme)
        self.client = client
        return client
    }

    /// Whether a client is trusted is asked anew.
    func forgetClient() { client = nil }

    /// Begins no new connections from now on: their clients try again, and are refused once this is closed. Handshakes that
    /// have begun come to their end; `close` a moment later takes those connections too.
    func stopHandshakes() {
        guard let descriptor = descriptor?.rawValue else { return }
        if edge_refuse_handshakes(descriptor) != 0 {
            reactor.logger.log(.warning, "connections that come just now may be reset: setsockopt failed with \(errno)")
        }
        while accept() {}
    }

    /// No new connections from now on. Those that the kernel has taken for us are served: closing would reset them.
    func close() {
        if phase != .bound { while accept() {} }
        guard let descriptor = descriptor.take() else { return }
        if phase == .open { reactor.unwatch(self, descriptor.rawValue) }
        do { try descriptor.close() } catch { reactor.logger.log(.warning, "\(error)") }
    }

    /// Refuses an address that somebody else listens on: `SO_REUSEPORT` alone would let two nodes share it, each with half
    /// of the connections.
    static func checkIsFree(_ address: ListenAddress) throws(SystemError) {
        guard address.port != 0 else { return }
        let socket = try bind(address, sharing: .refused)
        try startListening(socket.rawValue, at: address)
        try socket.close()
    }

    enum Sharing { case refused, withOtherReactors }

    /// Opens a listening socket.
    static func listen(
        _ address: ListenAddress, sharing: Sharing = .withOtherReactors
    ) throws(SystemError) -> Descriptor {
        let socket = try bind(address, sharing: sharing)
        try startListening(socket.rawValue, at: address)
        return socket
    }

    private static func startListening(_ number: Int32, at address: ListenAddress) throws(SystemError) {
        guard Glibc.listen(number, 4096) == 0 else { throw SystemError("listen", errno: errno, on: "\(address)") }
    }

    /// Takes an address whose connections are refused until it listens.
    static func bind(
        _ address: ListenAddress, sharing: Sharing = .withOtherReactors
    ) throws(SystemError) -> Descriptor {
        guard let target = NetworkAddress(text: address.host) else {
            throw SystemError("bind", errno: EINVAL, on: "\(address)")
        }
        let isIPv4 = target.bytes.count == 4
        let number = edge_socket(isIPv4 ? AF_INET : AF_INET6)
        guard number >= 0 else { throw SystemError("socket", errno: errno, on: "\(address)") }
        let socket = Descriptor(owning: number)
        var one: Int32 = 1
        var zero: Int32 = 0
        let size = socklen_t(MemoryLayout<Int32>.size)
        // SAFETY: each option's value is the integer whose address and size are given.
        _ = unsafe setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &one, size)
        if sharing == .withOtherReactors { _ = unsafe setsockopt(number, SOL_SOCKET, SO_REUSEPORT, &one, size) }
        if !isIPv4 { _ = unsafe setsockopt(number, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &zero, size) }
        let bound = unsafe target.withSocketAddress(port: address.port) { pointer, length in
            unsafe Glibc.bind(number, pointer, length)
        }
        guard bound == 0 else { throw SystemError("bind", errno: errno, on: "\(address)") }
        return socket
    }

    /// The port that the kernel chose.
    static func port(of descriptor: Int32) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // SAFETY: as for accept.
        _ = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getsockname(descriptor, $0, &length)
            }
        }
        // The port stands at the same place in both families, in network order.
        return unsafe withUnsafeBytes(of: &storage) { unsafe UInt16($0[2]) << 8 | UInt16($0[3]) }
    }
}

extension ListenAddress {
    /// Connects; blocks. For commands that ask a node.
    package func connect() throws(SystemError) -> Descriptor {
        guard let target = NetworkAddress(text: host) else {
            throw SystemError("connect", errno: EINVAL, on: "\(self)")
        }
        let number = socket(target.bytes.count == 4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        guard number >= 0 else { throw SystemError("socket", errno: errno, on: "\(self)") }
        let descriptor = Descriptor(owning: number)
        let result = unsafe target.withSocketAddress(port: port) { pointer, length in
            unsafe Glibc.connect(number, pointer, length)
        }
        guard result == 0 else { throw SystemError("connect", errno: errno, on: "\(self)") }
        return descriptor
    }
}

extension NetworkAddress {
    /// The address in what the kernel filled in.
    init(_ storage: sockaddr_storage) {
        var storage = storage
        let family = Int32(storage.ss_family)
        // SAFETY: reads within the storage: sin_addr at offset 4, sin6_addr at offset 8.
        let bytes = unsafe withUnsafeBytes(of: &storage) { raw -> [UInt8] in
            family == AF_INET ? unsafe Array(raw[4..<8]) : unsafe Array(raw[8..<24])
        }
        self.init(bytes: bytes)
    }

    func withSocketAddress<Result>(
        port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_storage()
        let isIPv4 = bytes.count == 4
        storage.ss_family = sa_family_t(isIPv4 ? AF_INET : AF_INET6)
        // SAFETY: writes within the storage, at the places of the family set above.
        unsafe withUnsafeMutableBytes(of: &storage) { raw in
            unsafe raw[2] = UInt8(port >> 8)
            unsafe raw[3] = UInt8(port & 0xff)
            for (index, byte) in bytes.enumerated() { unsafe raw[(isIPv4 ? 4 : 8) + index] = byte }
        }
        let length = socklen_t(isIPv4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size)
        return unsafe withUnsafePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
        }
    }
}
