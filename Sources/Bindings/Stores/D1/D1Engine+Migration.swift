internal import Synchronization
internal import System

extension D1Engine {
    /// How often it is looked who has waited too long.
    private static let lookInterval = Duration.milliseconds(100)

    /// Runs a deployment's migrations on the writer's thread, in their turn but no later than the run allows. Writes that come
    /// meanwhile are refused when they have waited as long as it allows.
    func migrate(_ run: D1MigrationRun) async throws(D1MigrationFailure) -> D1Migrated {
        let start = surroundings.clock.now()
        let outcome = await withCheckedContinuation { continuation in
            let attempt = MigrationAttempt(continuation)
            let watch = Task { await self.watch(attempt, run, since: start) }
            // Both end with the attempt; the caller waits for whichever is first.
            Task {
                attempt.finish(await self.perform(run, attempt))
                watch.cancel()
            }
        }
        return try outcome.get()
    }

    private func perform(_ run: D1MigrationRun, _ attempt: MigrationAttempt) async -> MigrationAttempt.Outcome {
        do throws(D1Failure) {
            return try await perform { writer -> MigrationAttempt.Outcome in
                guard attempt.begin() else { return .failure(D1Writer.isLocked(run.lockTimeout)) }
                do { return .success(try writer.migrate(run)) } catch {
                    return .failure(error as? D1MigrationFailure ?? D1MigrationFailure("\(error)"))
                }
            }
        } catch { return .failure(D1MigrationFailure(error.text)) }
    }

    private func watch(_ attempt: MigrationAttempt, _ run: D1MigrationRun, since start: Instant) async {
        let clock = surroundings.clock
        while true {
            do { try await clock.sleep(for: Self.lookInterval) } catch { return }
            let now = clock.now()
            if now - start > run.lockTimeout, attempt.giveUp(.failure(D1Writer.isLocked(run.lockTimeout))) { return }
            if attempt.isRunning { refuseWrites(waitingSince: now + (.zero - run.writeTimeout), .locked) }
        }
    }
}

/// A run of migrations that waits for its turn, or has it. Its caller is answered once.
private final class MigrationAttempt: Sendable {
    typealias Outcome = Result<D1Migrated, D1MigrationFailure>
    private enum Turn { case waiting, running, over }

    private let turn = Mutex(Turn.waiting)
    private let continuation: CheckedContinuation<Outcome, Never>

    init(_ continuation: CheckedContinuation<Outcome, Never>) { self.continuation = continuation }

    var isRunning: Bool { turn.withLock { $0 == .running } }

    /// - Returns: false when nobody waits for it any more.
    func begin() -> Bool {
        turn.withLock { turn in
            guard turn == .waiting else { return false }
            turn = .running
            return true
        }
    }

    func finish(_ outcome: Outcome) { end(outcome) { $0 != .over } }

    /// Answers unless it has its turn.
    func giveUp(_ outcome: Outcome) -> Bool { end(outcome) { $0 == .waiting } }

    @discardableResult
    private func end(_ outcome: Outcome, if mayEnd: (Turn) -> Bool) -> Bool {
        let isFirst = turn.withLock { turn in
            guard mayEnd(turn) else { return false }
            turn = .over
            return true
        }
        if isFirst { continuation.resume(returning: outcome) }
        return isFirst
    }
}
