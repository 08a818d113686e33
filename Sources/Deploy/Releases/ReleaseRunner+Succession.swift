internal import System

/// Leaving a tenant's stores to another process of the node, and taking them back when that comes to nothing.
extension ReleaseRunner {
    /// No change, cron or batch begins from now on; returns when batches that are on their way are settled.
    ///
    /// - Throws: `.retired`, `.busy`: nothing is paused then.
    package func pause() async throws {
        try await begin()
        await crons.stop()
        await queues.stop()
    }

    /// All goes on that `pause` has stopped.
    package func unpause() async {
        if let current {
            await crons.install(current.description, current.split.primary)
            await queues.install(
                QueueDriver.workers(of: current.split, on: node),
                from: stores.consumedQueues(stores.simulation(current.description.simulation)))
        }
        end()
    }

    /// While it is paused, and no event is open.
    package func closeStores() async {
        do { try await objects.suspend() } catch { logger.log(.error, "durable objects can't be handed over: \(error)") }
        await stores.close()
    }

    /// Opens the stores again that `closeStores` has closed, and brings the release that served back into service on them, with new
    /// isolates. It stays paused.
    package func reopenStores() async throws {
        let before = stores
        let reopened: Result<TenantStores, any Error> = await withCheckedContinuation { continuation in
            SystemThread(name: "edge-tenant") {
                continuation.resume(returning: Result { try before.reopened(with: nil) })
            }.start()
        }
        use(try reopened.get())
        guard let served = current else { return await resumeObjects() }
        // Its isolates call stores that are closed.
        current = nil
        do {
            try await bring(try makePlan())
        } catch {
            current = served
            await resumeObjects()
            throw error
        }
        await resumeObjects()
        for runtime in served.runtimes.values { node.retire(runtime.pool) }
        for runtime in served.objects.runtimes.values { node.retire(runtime.pool) }
    }
}
