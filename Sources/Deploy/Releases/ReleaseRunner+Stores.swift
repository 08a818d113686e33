package import Configuration
internal import Isolates
internal import StoresD1
internal import StoresQueues
internal import StoresR2
internal import System

/// Taking a tenant out of service and back, for changes of what its stores lie in.
extension ReleaseRunner {
    /// Ends the tenant's service, closes its stores, lets `change` work on their files, opens them, and brings the release that
    /// served back into service. The tenant's hosts are unknown meanwhile.
    ///
    /// - Parameters:
    ///   - settings: What the stores are opened with from now on; `nil` for the same as before.
    ///   - change: Blocks. Whatever it throws, what it leaves must be whole: that is what is opened afterwards.
    package func withStoresClosed(
        opening settings: StoreSettings? = nil, _ change: @escaping @Sendable () throws -> Void
    ) async throws {
        try await begin()
        defer { end() }
        // Their callers wait until they are back.
        do { try await objects.suspend() } catch {
            await resumeObjects()
            throw ReleaseError.objectsNotKept("\(error)")
        }
        let didServe = await leaveService()
        let before = stores
        await before.close()
        let (directory, identity) = (objects.directory, identity)
        let changed = await Self.blocking {
            Result {
                try change()
                if let identity { try ObjectArchive.give(directory, to: identity) }
            }
        }
        let reopened = await Self.blocking { Result { try before.reopened(with: settings) } }
        use(try reopened.get())
        // Objects that were taken over have the key that their ids were made with.
        if var rows = stored {
            rows.objectKeys = try await read { try $0.load().objectKeys }
            note(rows)
        }
        do {
            if didServe { try await serveAgain() }
        } catch {
            await resumeObjects()
            throw error
        }
        // Not before: those who had the objects are gone.
        await resumeObjects()
        try changed.get()
    }

    private func serveAgain() async throws {
        // What is in its stores now may be older, or nothing.
        if let configured { try await stores.migrate(configured.migrations, logger: logger) }
        try await bring(try makePlan())
    }

    func resumeObjects() async {
        let objects = objects
        let result = await Self.blocking { () -> Result<Void, any Error> in Result { try objects.resume() } }
        if case .failure(let error) = result { logger.log(.error, "durable objects stay out of service: \(error)") }
    }

    /// Ends the tenant's service for good and closes its stores.
    package func retire() async throws {
        await deployments.stop()
        refuseChanges(nil)
        try await begin()
        defer { end() }
        refuseChanges()
        _ = await leaveService()
        await objects.close()
        await stores.close()
    }

    /// - Returns: whether a release served.
    private func leaveService() async -> Bool {
        await crons.stop()
        await queues.stop()
        await routing.remove(tenant)
        let pools =
            slots.flatMap { $0.runtimes.values.map(\.pool) + $0.objects.runtimes.values.map(\.pool) }
            + previews.takeAll().map(\.pool)
        for pool in pools { node.retire(pool) }
        // Open events may finish, as long as an isolate's drain lasts; then they are ended.
        let deadline = clock.now() + .seconds(30)
        while !pools.allSatisfy(\.isEmpty), clock.now() < deadline { try? await clock.sleep(for: .milliseconds(10)) }
        for pool in pools { pool.kill() }
        defer {
            current = nil
            candidate = nil
            warm = [:]
        }
        return current != nil
    }

    private static func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            SystemThread(name: "edge-tenant") { continuation.resume(returning: body()) }.start()
        }
    }

    /// Those of its stores that can't be read, each with the reason.
    package nonisolated func failingStores() async -> [String] {
        let stores = stores
        var failing: [String] = []
        do { _ = try await stores.kv.namespaces() } catch { failing.append("KV: \(error)") }
        do { _ = try await stores.r2.bucketNames() } catch { failing.append("R2: \(error)") }
        do { _ = try stores.queues.queues() } catch { failing.append("queues: \(error)") }
        // They are closed for a moment when the tenant is changed.
        return stores === self.stores ? failing : []
    }

    /// How much of each kind the tenant has, by the name that the kind has in the API.
    package func contents() async throws -> [(kind: String, count: Int)] {
        // Without files there is no catalog either, and none is to be made for being looked at.
        let databaseCount =
            try stores.d1.databasesOnDisk().isEmpty
            ? 0 : try await stores.databases.list(nameContaining: "", page: 1, count: 1).totalCount
        return [
            ("workers", current?.description.workers.count ?? 0),
            ("kv_namespaces", try await stores.kv.namespaces().count), ("d1_databases", databaseCount),
            ("r2_buckets", try await stores.r2.bucketNames().count), ("queues", try stores.queues.queues().count),
        ]
    }

    /// Routes and domains of the release in service; those that win come first.
    package var routes: [EffectiveRoute] {
        (current?.description.workers ?? []).flatMap { worker in
            worker.domains.map { EffectiveRoute(host: $0.host, path: "/*", pattern: nil, worker: worker.name, score: .min) }
                + worker.routes.map { route in
                    EffectiveRoute(
                        host: (route.hostHasWildcard ? "*" : "") + route.host,
                        path: route.path + (route.pathHasWildcard ? "*" : ""), pattern: route.text, worker: worker.name,
                        score: route.score)
                }
        }.sorted { ($1.score, $0.pattern ?? $0.host) < ($0.score, $1.pattern ?? $1.host) }
    }
}

/// A host and path that a worker gets the requests of.
package struct EffectiveRoute: Equatable, Sendable {
    package let host: String
    package let path: String
    /// As it was written; `nil` for a custom domain, whose worker gets whatever no route takes.
    package let pattern: String?
    package let worker: String
    let score: Int
}
