package import System

/// A version of a worker as the release store has it. Immutable.
package struct ScriptVersion: Equatable, Sendable {
    /// A UUID in small letters.
    package let id: String
    package let worker: String
    /// From 1, by worker.
    package let number: Int64
    /// The SHA-256 of the executable.
    package let artifact: String
    package let snapshot: VersionSnapshot
    /// Of code, configuration and secrets; empty for versions that were uploaded.
    package let fingerprint: String
    package let annotations: [String: String]
    package let author: ScriptAuthor
    package let createdAt: UnixTime
    /// What its first isolate said that it handles.
    package var handlers: [String] = []
    /// From the start of its first isolate until that was ready.
    package var startupMilliseconds: Int64 = 0
}

/// Who made a version or a deployment, and by what: `config`, `api`, `wrangler`.
package struct ScriptAuthor: Equatable, Sendable {
    package let id: String
    package let email: String
    package let source: String

    package init(id: String, email: String, source: String) {
        self.id = id
        self.email = email
        self.source = source
    }

    /// What the configuration says at a node's start.
    package static let configuration = ScriptAuthor(id: "", email: "", source: "config")
}

/// Which versions of a worker get requests. History: the newest one counts, rows are only added.
package struct ScriptDeployment: Equatable, Sendable {
    package struct Share: Codable, Equatable, Sendable {
        package let versionID: String
        /// Of 10,000 requests.
        package let basisPoints: Int

        package init(versionID: String, basisPoints: Int) {
            self.versionID = versionID
            self.basisPoints = basisPoints
        }
    }

    /// A UUID in small letters.
    package let id: String
    package let worker: String
    package let createdAt: UnixTime
    package let shares: [Share]
    package let annotations: [String: String]
    package let author: ScriptAuthor
}

/// A worker, with what of it takes effect at once for all versions.
package struct ScriptRecord: Equatable, Sendable {
    package let worker: String
    package let createdAt: UnixTime
    package var modifiedAt: UnixTime
    /// Deleted over the API: what the configuration says of it counts again when that changes.
    package var isDeleted = false
    /// What the configuration last said of its versions and of its triggers; `nil`: nothing.
    package var configuredVersion: String?
    package var configuredTriggers: String?
    package var nextNumber: Int64 = 1
    /// Tags, log push, tail consumers and observability, as a JSON object.
    package var settings = "{}"
    /// Whether `<worker>.<subdomain>.…` answers.
    package var hasDefaultHost = true
    /// Whether its versions have hosts of their own, where the environment has such.
    package var hasPreviews = true

    package init(worker: String, at time: UnixTime) { self.init(worker: worker, createdAt: time, modifiedAt: time) }

    init(worker: String, createdAt: UnixTime, modifiedAt: UnixTime) {
        self.worker = worker
        self.createdAt = createdAt
        self.modifiedAt = modifiedAt
    }
}

/// What brings events to a worker. Not part of a version.
package struct ScriptTrigger: Equatable, Sendable {
    package enum Kind: String, Sendable { case route, domain, cron }

    /// 32 hexadecimal digits.
    package let id: String
    package let kind: Kind
    /// `nil`: requests for the route go to no worker.
    package var worker: String?
    /// A pattern, a host name, an expression.
    package var value: String
    package let createdAt: UnixTime
    package var modifiedAt: UnixTime

    package init(id: String, kind: Kind, worker: String?, value: String, at time: UnixTime) {
        self.id = id
        self.kind = kind
        self.worker = worker
        self.value = value
        createdAt = time
        modifiedAt = time
    }

    init(id: String, kind: Kind, worker: String?, value: String, createdAt: UnixTime, modifiedAt: UnixTime) {
        self.id = id
        self.kind = kind
        self.worker = worker
        self.value = value
        self.createdAt = createdAt
        self.modifiedAt = modifiedAt
    }
}
