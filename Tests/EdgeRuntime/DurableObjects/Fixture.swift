import DurableObjects
import Foundation
import Glibc
import System

/// An isolate's loop as far as storage needs one: the main actor, whose jobs are the turns.
final class Turns: ObjectTurns, @unchecked Sendable {
    var resets: [DurableObjectError] = []
    /// While it is true, nothing becomes durable.
    var holdsDisk = false
    var fails = false
    var syncCount = 0
    private var held: [() -> Void] = []

    private struct Work: @unchecked Sendable { let body: () -> Void }

    func atEndOfTurn(_ body: @escaping () -> Void) {
        let work = Work(body: body)
        Task { @MainActor in work.body() }
    }

    var now: Int64 = 1_000_000
    var warnings: [String] = []
    func warn(_ text: String) { warnings.append(text) }

    func makeDurable(_ descriptor: Int32, folder: String?, _ completion: @escaping ((any Error)?) -> Void) {
        let work = Work { [self] in
            syncCount += 1
            completion(fails ? DurableObjectError("no space") : nil)
        }
        if holdsDisk { held.append(work.body) } else { Task { @MainActor in work.body() } }
    }

    func reset(_ error: DurableObjectError) { resets.append(error) }

    private(set) var heldBack: UInt64 = 0
    private(set) var durable: UInt64 = 0
    func holdOutput(until number: UInt64) { heldBack = number }
    func commitIsDurable(_ number: UInt64) { durable = number }

    func locked(_ start: (@escaping ((any Error)?) -> Void) -> Void) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            start { error in if let error { continuation.resume(throwing: error) } else { continuation.resume() } }
        }
    }
    func criticalSection(_ body: @escaping () async throws -> Void) async throws { try await body() }

    /// What the index was told, and whether it answers.
    var alarmMoves: [Int64?] = []
    var holdsIndex = false
    private var heldMoves: [() -> Void] = []
    func moveAlarm(to time: Int64?, _ completion: @escaping ((any Error)?) -> Void) {
        alarmMoves.append(time)
        let work = Work { completion(nil) }
        if holdsIndex { heldMoves.append(work.body) } else { Task { @MainActor in work.body() } }
    }
    func releaseIndex() {
        holdsIndex = false
        let ready = heldMoves
        heldMoves = []
        for body in ready { body() }
    }
    func after(_ delay: Duration, _ body: @escaping () -> Void) -> () -> Void { {} }

    func releaseDisk() {
        holdsDisk = false
        let ready = held
        held = []
        for body in ready { body() }
    }
}

/// One object's storage in a directory of its own.
@MainActor final class Fixture {
    let turns = Turns()
    let storage: ObjectStorage
    let path: String

    init(path: String? = nil) throws {
        self.path = path ?? FileManager.default.temporaryDirectory.path + "/edge-object-\(UUID().uuidString)"
        storage = try ObjectStorage(path: self.path, turns: turns)
    }

    /// The object as somebody finds it who has the same files.
    func copied() throws -> Fixture {
        let copy = path + "-copy-\(UUID().uuidString)"
        for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: path + suffix, toPath: copy + suffix) }
        return try Fixture(path: copy)
    }

    deinit { for suffix in ["", "-wal", "-shm"] { _ = unsafe unlink(path + suffix) } }
}

/// Lets everything that is ready run.
@MainActor func settle() async { for _ in 0..<50 { await Task.yield() } }
