import FoundationEssentials
import Interfaces
import Observability
import Platform
import Stores
import StoresD1
import System
import Testing
import Workers

/// The platform's database on the real engine, with all migrations applied, in a directory of its own.
final class PlatformDatabase {
    let database: D1Database
    private let directory: URL

    init() async throws {
        directory = FileManager.default.temporaryDirectory
            .appending(path: "edge-platform-" + Identifier(now: 1).text)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let clock = VirtualClock()
        let store = try EmbeddedD1Store(
            directory: directory.appending(path: "d1").path(), clock: clock,
            logger: Logger(sink: DiscardingSink(), clock: clock, level: .error))
        database = D1Database(
            transport: LoopbackTransport(D1Service(store: store, database: "platform")), binding: 0)
        let report = try await D1Migrator(store: store, database: "platform").apply(try Self.migrations())
        try #require(report.succeeded, "\(report)")
        #expect(report.items.count >= 4)
    }

    /// The files as they are shipped.
    static func migrations() throws -> [D1Migration] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let folder = root.appending(path: "migrations/platform").path()
        return try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { name in
            D1Migration(
                name: name,
                text: String(
                    decoding: try Data(contentsOf: URL(filePath: folder + "/" + name)), as: UTF8.self))
        }
    }

    deinit { try? FileManager.default.removeItem(at: directory) }
}

/// Takes a call to a service in the same process.
private final class LoopbackTransport: BindingTransport {
    private let service: any StoreService

    init(_ service: any StoreService) { self.service = service }

    func perform(_ call: BindingCall) async throws -> BindingReply {
        let reply = try await service.answer(StoreCall(call.kind, message: call.message))
        guard case .bytes(let bytes)? = reply.body else { return BindingReply(message: reply.message) }
        return BindingReply(message: reply.message, body: ByteStream(bytes))
    }
}
