internal import System

/// What a release is made of, so that it can be brought into service again from its row alone.
package struct ReleaseContent: Codable, Equatable, Sendable {
    package struct Worker: Codable, Equatable, Sendable {
        package var shares: [ScriptDeployment.Share]
        /// What the configuration said of it: see `ScriptRecord`.
        package var configuredVersion: String?
        package var configuredTriggers: String?
    }

    package struct Trigger: Codable, Equatable, Sendable {
        package var id: String
        package var kind: String
        package var worker: String?
        package var value: String
        package var createdAt: Int64
        package var modifiedAt: Int64
    }

    /// Those that serve.
    package var workers: [String: Worker] = [:]
    package var triggers: [Trigger] = []
    /// Which classes of durable objects there are; `nil`: of a time when there were none.
    package var objects: ObjectCatalog?

    /// What the rows say.
    init(_ stored: ReleaseStore.Stored) {
        workers = [:]
        for (name, live) in stored.live {
            let script = stored.scripts[name]
            workers[name] = Worker(
                shares: live.deployment.shares, configuredVersion: script?.configuredVersion,
                configuredTriggers: script?.configuredTriggers)
        }
        objects = stored.objects
        triggers = stored.triggers.map { trigger in
            Trigger(
                id: trigger.id, kind: trigger.kind.rawValue, worker: trigger.worker, value: trigger.value,
                createdAt: trigger.createdAt.milliseconds, modifiedAt: trigger.modifiedAt.milliseconds)
        }
    }

    /// Worker → the version with the largest share; of equal ones the first.
    package var versions: [String: String] {
        workers.compactMapValues { worker in
            worker.shares.reduce(nil as ScriptDeployment.Share?) { best, share in
                best.map { $0.basisPoints >= share.basisPoints } ?? false ? best : share
            }?.versionID
        }
    }

    var scriptTriggers: [ScriptTrigger] {
        triggers.compactMap { trigger in
            // A kind of a later version of the node means nothing here.
            guard let kind = ScriptTrigger.Kind(rawValue: trigger.kind) else { return nil }
            return ScriptTrigger(
                id: trigger.id, kind: kind, worker: trigger.worker, value: trigger.value,
                createdAt: UnixTime(milliseconds: trigger.createdAt), modifiedAt: UnixTime(milliseconds: trigger.modifiedAt))
        }
    }
}
