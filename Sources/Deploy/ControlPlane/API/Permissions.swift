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

    /// What policies give.
    static func grants(_ policies: JSON, _ accounts: Accounts) throws(APIError) -> [Principal.Grant] {
        var grants: [Principal.Grant] = []
        for policy in policies.items ?? [] {
            for resource in policy["resources"]?.members ?? [] {
                guard resource.name.hasPrefix(accountPrefix) else {
                    throw APIError(400, 1001, "The resource \(resource.name) must be \(accountPrefix)ID or \(accountPrefix)*")
                }
                let account = String(resource.name.dropFirst(accountPrefix.utf8.count))
                let tenant = account == "*" ? nil : accounts.tenant(account)
                guard account == "*" || tenant != nil else { throw .notAllowed }
                for given in policy["permission_groups"]?.items ?? [] {
                    let words = [given["id"]?.text, given["name"]?.text].compactMap { $0?.lowercased() }
                    guard let group = groups.first(where: { words.contains($0.short) || words.contains($0.name.lowercased()) })
                    else {
                        throw APIError(400, 1001, "There is no permission group \"\(words.first ?? "")\"")
                    }
                    grants.append(Principal.Grant(tenant: tenant, product: group.product, level: group.level))
                }
            }
        }
        return grants
    }

    /// One policy for each tenant that `grants` speak of.
    static func policies(_ grants: [Principal.Grant]) -> JSON {
        var tenants: [String?] = []
        for grant in grants where !tenants.contains(grant.tenant) { tenants.append(grant.tenant) }
        return .array(
            tenants.map { tenant in
                let given = grants.filter { $0.tenant == tenant }.flatMap { grant in
                    groups.filter { ($0.product == (grant.product ?? $0.product)) && $0.level == grant.level }
                }
                return .object([
                    "effect": "allow",
                    "resources": .object([
                        JSON.Member(name: accountPrefix + (tenant.map(Accounts.id) ?? "*"), value: "*")
                    ]),
                    "permission_groups": .array(given.map(json)),
                ])
            })
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
                && own.level >= grant.level
        }
    }
}
