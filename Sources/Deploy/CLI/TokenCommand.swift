internal import ControlPlane
internal import HTTP
internal import System

/// `edge token create|list|revoke`: who may use a node's API.
enum TokenCommand: Command {
    static let name = "token"
    static let summary = "Makes, lists and revokes the tokens of a node's API"
    static let usage = "create NAME | list | revoke ID  --control URL [OPTION...]"
    static let discussion = """
        create  makes a token and prints it, this once: the node keeps a digest
        list    prints id, name, state and what each may do; never a token
        revoke  ends a token at once and for good

        What a token may do is a list of PRODUCT:LEVEL, each with @TENANT behind it or for all tenants; of
        r2, with @TENANT/BUCKET for the objects of one bucket. The token's id and the SHA-256 of its text are a key pair for the
        S3 API. Products are workers,
        kv, d1, r2, queues, cache, analytics, tokens and audit; levels are read and edit, which includes read.

        example: edge token create ci --allow kv:edit@acme --allow r2:edit@acme/photos --expires 90d --control http://127.0.0.1:8788
        """
    static let options: [Option] =
        APIClient.options + [
            .values("allow", "PRODUCT:LEVEL[@TENANT[/BUCKET]]", "what the token may do; may be repeated; required for create"),
            .value("expires", "DAYSd", "after how many days it ends, as 90d (never)"),
            .value("email", "ADDRESS", "lets the token be used as X-Auth-Key beside this address too"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let words = arguments.positional
        guard let verb = words.first else { throw UsageError.missingArgument("create, list or revoke") }
        let count = ["create": 2, "list": 1, "revoke": 2][verb]
        guard let count else { throw UsageError.unknownSubcommand(verb, of: name, among: ["create", "list", "revoke"]) }
        if words.count > count { throw UsageError.unexpectedArgument(words[count]) }
        if words.count < count { throw UsageError.missingArgument(verb == "create" ? "NAME" : "ID") }
        // Mistakes of the command line come before anything is asked.
        let body = verb == "create" ? try request(words[1], arguments) : nil
        let client = try APIClient(arguments)
        let json: JSON
        switch verb {
        case "create": json = try client.call("POST", "/user/tokens", body)
        case "revoke": json = try client.call("DELETE", "/user/tokens/\(PercentEncoding.encodeComponent(words[1]))")
        default: json = try client.call("GET", "/user/tokens?per_page=1000")
        }
        if arguments.has("json") {
            print(String(decoding: json.bytes, as: UTF8.self))
            return ExitCode.success
        }
        switch verb {
        case "create": print(json["result"]?["value"]?.text ?? "")
        case "revoke": print("revoked \(words[1])")
        default:
            for token in json["result"]?.items ?? [] {
                let until = token["expires_on"]?.text.map { " until \($0)" } ?? ""
                print(
                    "\(token["id"]?.text ?? "")  \(token["name"]?.text ?? "")  \(token["status"]?.text ?? "")\(until)  "
                        + grants(token).joined(separator: " "))
            }
        }
        return ExitCode.success
    }

    private static let accountPrefix = "com.cloudflare.api.account."
    private static let bucketPrefix = "com.cloudflare.edge.r2.bucket."

    /// What stands behind the @: a tenant, or a bucket of one.
    private static func resource(_ place: String) -> String {
        let parts = place.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? "\(bucketPrefix)\(parts[0])_default_\(parts[1])" : accountPrefix + place
    }

    private static func place(_ resource: String) -> String {
        guard resource.hasPrefix(bucketPrefix) else { return String(resource.dropFirst(accountPrefix.utf8.count)) }
        return resource.dropFirst(bucketPrefix.utf8.count).split(separator: "_").enumerated()
            .filter { $0.offset != 1 }.map { String($0.element) }.joined(separator: "/")
    }

    private static func grants(_ token: JSON) -> [String] {
        (token["policies"]?.items ?? []).flatMap { policy in
            let account = place(policy["resources"]?.members?.first?.name ?? "")
            return (policy["permission_groups"]?.items ?? []).map { group in
                (group["id"]?.text ?? "") + (account == "*" ? "" : "@\(account)")
            }
        }
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
                    "resources": .object([JSON.Member(name: resource(account), value: "*")]),
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
