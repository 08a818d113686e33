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

    var now: Int64 { 1_000_000 }

    func makeDurable(_ descriptor: Int32, _ completion: @escaping ((any Error)?) -> Void) {
        let work = Work { [self] in
            syncCount += 1
            completion(fails ? DurableObjectError("no space") : nil)
        }
        if holdsDisk { held.append(work.body) } else { Task { @MainActor in work.body() } }
    }

    func reset(_ error: DurableObjectError) { resets.append(error) }

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
    let gate: InputGate
    let storage: ObjectStorage
    let path: String

    init(path: String? = nil) throws {
        self.path = path ?? FileManager.default.temporaryDirectory.path + "/edge-object-\(UUID().uuidString)"
        let turns = turns
        gate = InputGate { turns.atEndOfTurn($0) }
        storage = try ObjectStorage(path: self.path, gate: gate, turns: turns)
    }

    deinit { for suffix in ["", "-wal", "-shm"] { _ = unsafe unlink(path + suffix) } }
}

/// Lets everything that is ready run.
@MainActor func settle() async { for _ in 0..<50 { await Task.yield() } }
