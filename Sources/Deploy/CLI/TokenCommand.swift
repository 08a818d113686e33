internal import ControlPlane
internal import HTTP
internal import System

/// `edge token create|list|revoke`: who may use a node's API.
enum TokenCommand: CommandGroup {
    static let name = "token"
    static let summary = "Makes, lists and revokes the tokens of a node's API"
    static let commands: [any Command.Type] = [TokenCreateCommand.self, TokenListCommand.self, TokenRevokeCommand.self]

    private static let accountPrefix = "com.cloudflare.api.account."
    private static let bucketPrefix = "com.cloudflare.edge.r2.bucket."

    /// How policies name what stands behind the @: a tenant, `*` for all, or a bucket of one.
    static func resource(_ place: String) -> String {
        let parts = place.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? "\(bucketPrefix)\(parts[0])_default_\(parts[1])" : accountPrefix + place
    }

    /// What `resource` made that of.
    static func place(_ resource: String) -> String {
        guard resource.hasPrefix(bucketPrefix) else { return String(resource.dropFirst(accountPrefix.utf8.count)) }
        let parts = resource.dropFirst(bucketPrefix.utf8.count).split(separator: "_")
        return parts.count == 3 ? "\(parts[0])/\(parts[2])" : resource
    }
}

enum TokenCreateCommand: Command {
    static let name = "create"
    static let summary = "Makes a token and prints it, this once: the node keeps a digest"
    static var discussion: String {
        """
        \(summary).

        What a token may do is a list of PRODUCT:LEVEL, each with @TENANT behind it or for all tenants; of r2 also with
        @TENANT/BUCKET, for the objects of one bucket. A token's id and the SHA-256 of its text are a key pair for the S3 API.
        Products are
        \(APIOperation.Product.allCases.map(\.rawValue).joined(separator: ", "));
        levels are read and edit, which includes read.

        example: edge token create ci --allow kv:edit@acme --allow r2:edit@acme/photos --expires 90d
        """
    }
    static let operands: [Operand] = [.one("NAME")]
    static let options: [Option] =
        [
            .values("allow", "PRODUCT:LEVEL[@TENANT[/BUCKET]]", "what the token may do; may be repeated; required"),
            .value("expires", "DAYSd", "after how many days it ends, as 90d (never)"),
            .value("email", "ADDRESS", "lets the token be used as X-Auth-Key beside this address too"),
        ] + APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        // Mistakes of the command line come before anything is asked.
        let body = try request(arguments.required("NAME"), arguments)
        let made = try await APIClient(arguments).result("POST", "/user/tokens", body)
        if arguments.has("json") { Output.json(made) } else { print(made["value"]?.text ?? "") }
        return ExitCode.success
    }

    private static func request(_ name: String, _ arguments: CommandLineArguments) throws -> JSON {
        var policies: [JSON] = []
        for text in arguments.all("allow") {
            let halves = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            let words = halves[0].split(separator: ":", omittingEmptySubsequences: false)
            guard words.count == 2, APIOperation.Product(rawValue: String(words[0])) != nil,
                APIOperation.Level(rawValue: String(words[1])) != nil, halves.count == 1 || !halves[1].isEmpty
            else {
                throw UsageError.invalidValue(
                    option: "--allow", value: text,
                    expected: "PRODUCT:LEVEL or PRODUCT:LEVEL@TENANT, as kv:edit@acme, or r2:edit@acme/photos")
            }
            let account = halves.count == 2 ? String(halves[1]) : "*"
            policies.append(
                .object([
                    "effect": "allow",
                    "resources": .object([JSON.Member(name: TokenCommand.resource(account), value: "*")]),
                    "permission_groups": .array([.object(["id": .string(String(halves[0]))])]),
                ]))
        }
        guard !policies.isEmpty else { throw UsageError.missingArgument("--allow PRODUCT:LEVEL") }
        var expiry: JSON?
        if let text = arguments.value("expires") {
            guard text.hasSuffix("d"), let days = Int64(text.dropLast()), (1...36500).contains(days) else {
                throw UsageError.invalidValue(option: "--expires", value: text, expected: "a number of days, as 90d")
            }
            let seconds = SystemClock().wallTime().seconds + days * 86400
            expiry = .string(HTTPDate(unixSeconds: seconds).iso8601)
        }
        return .object([
            "name": .string(name), "policies": .array(policies), "expires_on": expiry,
            "email": arguments.value("email").map { .string($0) },
        ])
    }
}

enum TokenListCommand: Command {
    static let name = "list"
    static let summary = "Shows id, name, state and what each may do; never a token"
    static let options = APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let tokens = try await APIClient(arguments).list("/user/tokens")
        return Output.list(tokens, arguments, "ID", "NAME", "STATUS", "EXPIRES", "MAY", orSay: "there are no tokens") { token in
            [
                token["id"]?.text ?? "", token["name"]?.text ?? "", token["status"]?.text ?? "",
                token["expires_on"]?.text.map { Output.time($0) } ?? "never", grants(token).joined(separator: " "),
            ]
        }
    }

    private static func grants(_ token: JSON) -> [String] {
        (token["policies"]?.items ?? []).flatMap { policy in
            let account = TokenCommand.place(policy["resources"]?.members?.first?.name ?? "")
            return (policy["permission_groups"]?.items ?? []).map { group in
                (group["id"]?.text ?? "") + (account == "*" ? "" : "@\(account)")
            }
        }
    }
}

enum TokenRevokeCommand: Command {
    static let name = "revoke"
    static let summary = "Ends a token, at once and for good"
    static let operands: [Operand] = [.one("ID")]
    static let options = APIClient.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let id = try arguments.required("ID")
        let answer = try await APIClient(arguments).result("DELETE", "/user/tokens/\(id)")
        if arguments.has("json") { Output.json(answer) } else { print("revoked \(id)") }
        return ExitCode.success
    }
}
