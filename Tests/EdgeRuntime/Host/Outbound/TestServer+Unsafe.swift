import Glibc
import Synchronization
import System

/// A server on a free port of the loopback interface: each connection is handled by blocking code on a
/// thread of its own.
final class TestServer: Sendable {
    let port: UInt16
    private let listener: Int32
    private let connections = Atomic<Int>(0)

    /// How many connections were accepted until now.
    var connectionCount: Int { connections.load(ordering: .relaxed) }
    func url(_ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

    init(_ handle: @escaping @Sendable (borrowing ServerConnection) -> Void) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isListening = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            // SAFETY: sockaddr_in is what AF_INET calls its addresses, and `length` is its size.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe bind(listener, address, length) == 0 && listen(listener, 128) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        guard isListening else { throw SystemError("listen", errno: errno) }
        port = UInt16(bigEndian: address.sin_port)
        SystemThread(name: "test-server") { [weak self, listener] in
            // Closed here: its number must not pass to another test's socket while this thread still accepts.
            defer { close(listener) }
            while true {
                let number = accept(listener, nil, nil)
                guard number >= 0 else { return }
                self?.connections.add(1, ordering: .relaxed)
                SystemThread(name: "test-connection") { handle(ServerConnection(number)) }.start()
            }
        }.start()
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }  // Ends the wait in accept.
}

/// The server's end of a connection. Closed when it goes.
struct ServerConnection: ~Copyable {
    private let number: Int32

    init(_ number: Int32) {
        self.number = number
        var limit = timeval(tv_sec: 120, tv_usec: 0)  // A broken test ends.
        unsafe setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(number) }

    struct Head: Sendable {
        var method = ""
        var target = ""
        var fields: [(name: String, value: String)] = []
        subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }
    }

    /// The next request's head; `nil` when the client has gone.
    func readHead() -> Head? {
        var bytes: [UInt8] = []
        while !bytes.suffix(4).elementsEqual([13, 10, 13, 10]) {
            guard let byte = read(1)?.first else { return nil }
            bytes.append(byte)
        }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n").map(String.init)
        let parts = (lines.first ?? "").split(separator: " ").map(String.init)
        var head = Head(method: parts.first ?? "", target: parts.count > 1 ? parts[1] : "")
        for line in lines.dropFirst() {
            let halves = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let value = halves.count > 1 ? halves[1].drop { $0 == " " } : ""
            head.fields.append((halves[0].lowercased(), String(value)))
        }
        return head
    }

    /// The body that belongs to the head, by its length or in chunks; `nil` when the client left inside it.
    func readBody(of head: Head) -> [UInt8]? {
        if let length = head["content-length"].flatMap({ Int($0) }) { return readAll(length) }
        guard head["transfer-encoding"] == "chunked" else { return [] }
        var body: [UInt8] = []
        while true {
            var line: [UInt8] = []
            while !line.suffix(2).elementsEqual([13, 10]) {
                guard let byte = read(1)?.first else { return nil }
                line.append(byte)
            }
            guard let count = Int(String(decoding: line.dropLast(2), as: UTF8.self), radix: 16),
                let chunk = readAll(count + 2)
            else { return nil }
            if count == 0 { return body }
            body += chunk.dropLast(2)
        }
    }

    /// Exactly `count` bytes; `nil` when the client left before.
    func readAll(_ count: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let more = read(count - bytes.count) else { return nil }
            bytes += more
        }
        return bytes
    }

    /// Some bytes; `nil` at the end.
    func read(_ max: Int) -> [UInt8]? {
        let number = number
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: min(max, 64 << 10)) { buffer, count in
            // SAFETY: the kernel writes into the buffer no more than its size.
            count = unsafe Swift.max(0, recv(number, buffer.baseAddress, buffer.count, 0))
        }
        return bytes.isEmpty ? nil : bytes
    }

    /// Whether the client closes, or resets, instead of sending more.
    func waitForClose() -> Bool { read(1) == nil }

    @discardableResult
    func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    /// False when the client has gone.
    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool {
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: the kernel reads what is left of the array.
                unsafe send(
                    number, buffer.baseAddress?.advanced(by: written), buffer.count - written,
                    Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            written += count
        }
        return true
    }

    /// Writes until the client takes no more for a while; returns how many bytes of `bytes` went.
    func writeUntilStalled(_ bytes: [UInt8]) -> Int {
        var limit = timeval(tv_sec: 0, tv_usec: 300_000)
        unsafe setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        defer {
            limit = timeval(tv_sec: 120, tv_usec: 0)
            unsafe setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: as in `write`.
                unsafe send(
                    number, buffer.baseAddress?.advanced(by: written), min(64 << 10, buffer.count - written),
                    Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return written }
            written += count
        }
        return written
    }

    /// An answer of status 200 and this text.
    func answer(_ body: String, _ fields: String = "") {
        write("HTTP/1.1 200 OK\r\n\(fields)content-length: \(body.utf8.count)\r\n\r\n\(body)")
    }
}

/// Something that happens once, or a value that comes once, awaited by one task.
final class Signal<Value: Sendable>: Sendable {
    private enum State {
        case pending
        case waiting(CheckedContinuation<Value, Never>)
        case sent(Value)
    }
    private let state = Mutex(State.pending)

    func send(_ value: Value) {
        let waiter = state.withLock { state -> CheckedContinuation<Value, Never>? in
            defer { state = .sent(value) }
            if case .waiting(let waiter) = state { return waiter }
            return nil
        }
        waiter?.resume(returning: value)
    }

    func wait() async -> Value {
        await withCheckedContinuation { waiter in
            let value = state.withLock { state -> Value? in
                if case .sent(let value) = state { return value }
                state = .waiting(waiter)
                return nil
            }
            if let value { waiter.resume(returning: value) }
        }
    }
}

extension Signal<Void> {
    func send() { send(()) }
}
