import CLinux
import Glibc
import Isolates
import Observability
import Synchronization
import System
import Testing

/// A supervisor for one test, with what it told so far.
final class TestNode: Sendable {
    private struct Told {
        var exits: [IsolateID: IsolateExit] = [:]
        var notices: [(IsolateID, Supervisor.Notice)] = []
        var waiters: [@Sendable () -> Void] = []
    }
    private let told: Mutex<Told>
    let supervisor: Supervisor
    /// A tenant for this test alone, so that tests don't count each other's threads.
    let identity: TenantIdentity
    private static let nextTenant = Atomic<UInt32>(1)

    init(pace: Supervisor.Pace = .init()) async throws {
        let box = Box()
        identity = TenantIdentity(
            ordinal: Self.nextTenant.wrappingAdd(1, ordering: .relaxed).newValue, base: 610_000)
        told = Mutex(Told())
        supervisor = try await Supervisor(
            logger: Logger(sink: DiscardingSink(), clock: VirtualClock(), level: .error), pace: pace,
            callbacks: .init(
                onExit: { id, exit in box.node?.note { $0.exits[id] = exit } },
                onNotice: { id, notice in box.node?.note { $0.notices.append((id, notice)) } }))
        box.node = self
    }

    /// The callbacks exist before the node does.
    private final class Box: @unchecked Sendable {
        private let lock = Mutex<Void>(())
        private weak var stored: TestNode?
        var node: TestNode? {
            get { lock.withLock { _ in stored } }
            set { lock.withLock { _ in stored = newValue } }
        }
    }

    static let probePath = executable("SandboxProbe")
    static let guestPath = executable("SandboxGuest")
    static let standInPath = executable("NodeStandIn")

    /// SwiftPM puts the test's program and the package's next to each other.
    private static func executable(_ name: String) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = unsafe readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let own = String(decoding: buffer[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = own.split(separator: "/").dropLast().joined(separator: "/")
        let besides = "/\(folder)/\(name)"
        if unsafe access(besides, X_OK) == 0 { return besides }
        let package = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        return "/\(package)/.build/debug/\(name)"
    }

    func spawn(
        _ mode: String, path: String = TestNode.probePath, channelCount: Int = 1,
        limits: IsolateLimits = IsolateLimits(), identity: TenantIdentity? = nil, files: WritableFiles? = nil
    ) async throws -> SpawnedIsolate {
        let image = try IsolateImage(
            path: path, libraryDirectories: IsolateImage.toolchainLibraryDirectories())
        return try await supervisor.spawn(
            IsolateSpecification(
                image: image, workerName: mode, channelCount: channelCount, limits: limits,
                identity: identity ?? self.identity, files: files))
    }

    func exit(of isolate: SpawnedIsolate) async -> IsolateExit { await value { $0.exits[isolate.id] } }

    func notice(of isolate: SpawnedIsolate, where matches: @escaping @Sendable (Supervisor.Notice) -> Bool)
        async
    {
        _ = await value { $0.notices.contains { $0 == isolate.id && matches($1) } ? true : nil }
    }

    func output(of isolate: SpawnedIsolate) -> [String] {
        told.withLock { told in
            told.notices.compactMap { id, notice in
                if case .output(let line) = notice, id == isolate.id { line } else { nil }
            }
        }
    }

    private func note(_ change: (inout Told) -> Void) {
        let waiters = told.withLock { told in
            change(&told)
            defer { told.waiters = [] }
            return told.waiters
        }
        for wake in waiters { wake() }
    }

    private func value<Value: Sendable>(_ read: @escaping @Sendable (borrowing Told) -> Value?) async -> Value {
        while true {
            let found: Value? = await withCheckedContinuation { continuation in
                let found = told.withLock { told -> Value? in
                    if let value = read(told) { return value }
                    told.waiters.append { continuation.resume(returning: nil) }
                    return nil
                }
                if let found { continuation.resume(returning: found) }
            }
            if let found { return found }
        }
    }
}

/// One line that the probe wrote on its channel.
struct Answer: Equatable {
    let attempt: String
    let result: Int
    let errno: Int32
}

extension SpawnedIsolate {
    /// Reads lines from the first channel until `last` has come or the isolate has closed it. Blocks a
    /// thread of its own.
    func lines(until last: @escaping @Sendable (String) -> Bool) async -> [String] {
        let channel = channels[0]
        return await withCheckedContinuation { continuation in
            SystemThread(name: "test-reader") {
                var bytes: [UInt8] = []
                var lines: [String] = []
                var byte: UInt8 = 0
                while true {
                    var item = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
                    guard unsafe poll(&item, 1, 30_000) > 0, unsafe read(channel, &byte, 1) == 1 else {
                        break
                    }
                    guard byte == UInt8(ascii: "\n") else {
                        bytes.append(byte)
                        continue
                    }
                    lines.append(String(decoding: bytes, as: UTF8.self))
                    bytes = []
                    if last(lines[lines.count - 1]) { break }
                }
                continuation.resume(returning: lines)
            }.start()
        }
    }

    func answers() async -> [Answer] { await answers(until: "done") }

    func answers(until name: String) async -> [Answer] {
        await lines { $0.hasPrefix(name + " ") }.map { line in
            let words = line.split(separator: " ")
            return Answer(
                attempt: words.dropLast(2).joined(separator: " "), result: Int(words[words.count - 2]) ?? -99,
                errno: Int32(words[words.count - 1]) ?? -99)
        }
    }

    /// Sends a byte and waits for it to come back.
    func echoes() async -> Bool {
        var line: [UInt8] = Array("x\n".utf8)
        guard unsafe write(channels[0], &line, 2) == 2 else { return false }
        return await lines { $0 == "x" } == ["x"]
    }

    func closeChannels() { for channel in channels { close(channel) } }
}

/// A directory that goes away with the value.
final class TestDirectory {
    let path: String
    private var written: [String] = []

    init() throws {
        var template = Array("/tmp/edge-isolates-XXXXXX".utf8CString)
        guard let made = unsafe mkdtemp(&template) else { throw SystemError("mkdtemp", errno: errno) }
        path = unsafe String(cString: made)
    }

    func write(_ bytes: [UInt8], as name: String, mode: mode_t = 0o644) throws -> String {
        let file = path + "/" + name
        written.append(name)
        let number = unsafe open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard number >= 0 else { throw SystemError("open", errno: errno, on: file) }
        defer { close(number) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(number, $0.baseAddress, $0.count) }
            guard count > 0 else { throw SystemError("write", errno: errno, on: file) }
            rest = rest.dropFirst(count)
        }
        _ = fchmod(number, mode)
        return file
    }

    deinit {
        for name in written { unsafe unlink(path + "/" + name) }
        unsafe rmdir(path)
    }
}

/// The bytes of a file.
func contents(_ path: String) throws -> [UInt8] {
    let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { throw SystemError("open", errno: errno, on: path) }
    defer { close(number) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe read(number, &chunk, chunk.count)
        guard count > 0 else { break }
        bytes += chunk[..<count]
    }
    return bytes
}
