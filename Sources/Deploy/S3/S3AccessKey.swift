package import StoresR2
package import System

/// A tenant as S3 sees it: an account with buckets.
package struct S3Tenant: Sendable {
    package let name: String
    /// 32 hexadecimal digits.
    package let accountID: String
    package let store: EmbeddedR2Store

    package init(name: String, accountID: String, store: EmbeddedR2Store) {
        self.name = name
        self.accountID = accountID
        self.store = store
    }
}

/// What an access key may do.
package struct S3Scope: Equatable, Sendable {
    package enum Level: Comparable, Sendable { case read, write }

    /// `nil` for all tenants.
    package let tenant: String?
    /// The objects of this bucket alone; `nil` for all buckets, and for what is a bucket's own.
    package let bucket: String?
    package let level: Level

    package init(tenant: String?, bucket: String?, level: Level) {
        self.tenant = tenant
        self.bucket = bucket
        self.level = level
    }
}

/// A pair of an id and a secret that requests are signed with.
package struct S3AccessKey: Sendable {
    package let id: String
    package let secret: String
    package let scopes: [S3Scope]

    package init(id: String, secret: String, scopes: [S3Scope]) {
        self.id = id
        self.secret = secret
        self.scopes = scopes
    }
}

/// Where access keys and tenants come from. Answers from memory, on any thread.
package protocol S3Directory: Sendable {
    /// `nil` when there is none of that id, or not any more.
    func accessKey(_ id: String, at time: UnixTime) -> S3AccessKey?
    /// Those whose stores are open.
    var tenants: [S3Tenant] { get }
}

/// Who sends a request, and what he may do.
struct S3Caller: Sendable {
    let key: S3AccessKey
    /// What is left of the key's scopes to temporary credentials.
    let temporary: TemporaryCredentials.Claims?

    /// Whether it may do something with objects of a bucket: with one of them, or those whose keys begin so; `nil` leaves that
    /// open.
    func may(_ level: S3Scope.Level, object: String?, in bucket: String, of tenant: String) -> Bool {
        if let temporary, !temporary.allows(level, object: object, in: bucket, of: tenant) { return false }
        return key.scopes.contains { scope in
            (scope.tenant ?? tenant) == tenant && (scope.bucket ?? bucket) == bucket && scope.level >= level
        }
    }

    /// Whether it may do something with the tenant's buckets as such.
    func mayManage(_ level: S3Scope.Level, of tenant: String) -> Bool {
        guard temporary.map({ $0.isAdministrator }) ?? true else { return false }
        return key.scopes.contains { scope in
            (scope.tenant ?? tenant) == tenant && scope.bucket == nil && scope.level >= level
        }
    }

    /// Whether it may do anything at all there.
    func knows(_ tenant: String) -> Bool {
        if let temporary, let account = temporary.account, account != tenant { return false }
        return key.scopes.contains { ($0.tenant ?? tenant) == tenant }
    }
}
