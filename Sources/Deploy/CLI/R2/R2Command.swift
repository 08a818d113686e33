internal import ControlPlane

/// `edge r2`: buckets, their objects, and what is set for them.
enum R2Command: CommandGroup {
    static let name = "r2"
    static let summary = "Manages R2 buckets and what is in them"
    static let commands: [any Command.Type] = [R2BucketCommand.self, R2ObjectCommand.self]
}

enum R2BucketCommand: CommandGroup {
    static let name = "bucket"
    static let summary = "Makes, lists, sets up and deletes buckets"
    static let commands: [any Command.Type] = [
        R2BucketCreateCommand.self, R2BucketListCommand.self, R2BucketInfoCommand.self, R2BucketUpdateCommand.self,
        R2BucketDeleteCommand.self, R2LifecycleCommand.self, R2LockCommand.self, R2NotificationCommand.self,
        R2CorsCommand.self, R2DevURLCommand.self, R2DomainCommand.self,
    ]
}

enum R2ObjectCommand: CommandGroup {
    static let name = "object"
    static let summary = "Puts, gets, lists and deletes objects"
    static let commands: [any Command.Type] = [
        R2ObjectPutCommand.self, R2ObjectGetCommand.self, R2ObjectListCommand.self, R2ObjectDeleteCommand.self,
    ]
}

/// Paths of buckets.
enum R2Target {
    static let options: [Option] =
        [.value("jurisdiction", "NAME", "the place where the bucket is: default, eu, us, fedramp … (default)", short: "J")]
        + APIClient.storeOptions

    /// A node whose buckets are those of the jurisdiction.
    static func client(_ arguments: CommandLineArguments) throws -> APIClient {
        try APIClient(arguments, headers: arguments.value("jurisdiction").map { [("cf-r2-jurisdiction", $0)] } ?? [])
    }

    static func buckets(_ client: APIClient) async throws -> APIPath { "\(try await client.account())/r2/buckets" }

    static func bucket(_ name: String, _ client: APIClient) async throws -> APIPath {
        "\(try await buckets(client))/\(name)"
    }

    /// `BUCKET/KEY`, as one word.
    static func split(_ word: String) throws(UsageError) -> (bucket: String, key: String) {
        let halves = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
        guard halves.count == 2, !halves[0].isEmpty, !halves[1].isEmpty else {
            throw .invalidValue(option: "BUCKET/KEY", value: word, expected: "a bucket and a key, as photos/2026/one.jpg")
        }
        return (halves[0], halves[1])
    }
}
