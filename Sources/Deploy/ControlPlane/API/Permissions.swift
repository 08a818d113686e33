internal import HTTP

/// What tokens may be allowed, in the words of the product's API: permission groups, and policies that give some of them on
/// some accounts (https://developers.cloudflare.com/fundamentals/api/reference/permissions/).
enum Permissions {
    struct Group: Sendable {
        let product: APIOperation.Product
        let level: APIOperation.Level

        var name: String { "\(Self.title(product)) \(level == .read ? "Read" : "Write")" }

        /// `kv:read`
        var short: String { "\(product.rawValue):\(level.rawValue)" }

        private static func title(_ product: APIOperation.Product) -> String {
            switch product {
            case .workers: "Workers Scripts"
            case .kv: "Workers KV Storage"
            case .d1: "D1"
            case .r2: "Workers R2 Storage"
            case .queues: "Queues"
            case .cache: "Cache Purge"
            case .analytics: "Account Analytics"
            case .tokens: "API Tokens"
            case .audit: "Account Audit Logs"
            case .tenants: "Account Settings"
            }
        }
    }

    static let groups: [Group] = APIOperation.Product.allCases.flatMap { product in
        [Group(product: product, level: .read), Group(product: product, level: .edit)]
    }

    static let policySchema = APISchema.object([
        .required("effect", .choice(["allow"])),
        .required("resources", .map(.choice(["*"]))),
        .required(
            "permission_groups",
            .array(.object([.optional("id", .string()), .optional("name", .string())]), 1...100)),
    ])

    private static let accountPrefix = "com.cloudflare.api.account."
    /// `…ACCOUNT_JURISDICTION_BUCKET` (https://developers.cloudflare.com/r2/api/tokens/).
    private static let bucketPrefix = "com.cloudflare.edge.r2.bucket."
    private static let jurisdictions = ["default", "eu", "fedramp"]

    /// What of the node a resource is.
    private static func resource(
        _ name: String, _ accounts: Accounts
    ) throws(APIError) -> (tenant: String?, bucket: String?) {
        if name.hasPrefix(bucketPrefix) {
            // Neither accounts' ids nor jurisdictions nor buckets have the mark; names of tenants may.
            let parts = name.dropFirst(bucketPrefix.utf8.count).split(separator: "_", omittingEmptySubsequences: false)
            guard parts.count >= 3, jurisdictions.contains(String(parts[parts.count - 2])), !parts[parts.count - 1].isEmpty
            else { throw APIError(400, 1001, "The resource \(name) must be \(bucketPrefix)ACCOUNT_default_BUCKET") }
            guard let tenant = accounts.tenant(parts.dropLast(2).joined(separator: "_")) else { throw .notAllowed }
            return (tenant, String(parts[parts.count - 1]))
        }
        guard name.hasPrefix(accountPrefix) else {
            throw APIError(400, 1001, "The resource \(name) must be \(accountPrefix)ID or \(accountPrefix)*")
        }
        let account = String(name.dropFirst(accountPrefix.utf8.count))
        let tenant = account == "*" ? nil : accounts.tenant(account)
        guard account == "*" || tenant != nil else { throw .notAllowed }
        return (tenant, nil)
    }

    /// The permission group that a policy means. Those of buckets have names of their own.
    private static func group(_ given: JSON, ofBucket: Bool) throws(APIError) -> Group {
        let words = [given["id"]?.text, given["name"]?.text].compactMap { $0?.lowercased() }
            .map { $0.replacing("workers r2 storage bucket item ", with: "workers r2 storage ") }
        guard let group = groups.first(where: { words.contains($0.short) || words.contains($0.name.lowercased()) }) else {
            throw APIError(400, 1001, "There is no permission group \"\(words.first ?? "")\"")
        }
        guard !ofBucket || group.product == .r2 else {
            throw APIError(400, 1001, "\(group.short) is nothing that can be allowed on a bucket: r2:read and r2:edit are")
        }
        return group
    }

    /// What policies give.
    static func grants(_ policies: JSON, _ accounts: Accounts) throws(APIError) -> [Principal.Grant] {
        var grants: [Principal.Grant] = []
        for policy in policies.items ?? [] {
            for resource in policy["resources"]?.members ?? [] {
                let (tenant, bucket) = try Self.resource(resource.name, accounts)
                for given in policy["permission_groups"]?.items ?? [] {
                    let group = try group(given, ofBucket: bucket != nil)
                    grants.append(
                        Principal.Grant(tenant: tenant, product: group.product, level: group.level, bucket: bucket))
                }
            }
        }
        return grants
    }

    /// One policy for each tenant, and each bucket, that `grants` speak of.
    static func policies(_ grants: [Principal.Grant]) -> JSON {
        var subjects: [(tenant: String?, bucket: String?)] = []
        for grant in grants where !subjects.contains(where: { $0 == (grant.tenant, grant.bucket) }) {
            subjects.append((grant.tenant, grant.bucket))
        }
        return .array(
            subjects.map { tenant, bucket in
                let given = grants.filter { $0.tenant == tenant && $0.bucket == bucket }.flatMap { grant in
                    groups.filter { ($0.product == (grant.product ?? $0.product)) && $0.level == grant.level }
                }
                return .object([
                    "effect": "allow",
                    "resources": .object([
                        JSON.Member(name: resourceName(tenant, bucket), value: "*")
                    ]),
                    "permission_groups": .array(given.map(json)),
                ])
            })
    }

    private static func resourceName(_ tenant: String?, _ bucket: String?) -> String {
        let account = tenant.map(Accounts.id) ?? "*"
        return bucket.map { "\(bucketPrefix)\(account)_default_\($0)" } ?? accountPrefix + account
    }

    static func json(_ group: Group) -> JSON {
        .object([
            "id": .string(group.short), "name": .string(group.name),
            "scopes": .array(["com.cloudflare.api.account"]),
        ])
    }
}

extension Principal {
    /// Whether it may do all that `grant` gives, so that no token makes one that may more than itself.
    func covers(_ grant: Grant) -> Bool {
        grants.contains { own in
            (own.tenant == nil || own.tenant == grant.tenant) && (own.product == nil || own.product == grant.product)
                && own.level >= grant.level && (own.bucket == nil || own.bucket == grant.bucket)
        }
    }
}
