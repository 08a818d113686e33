internal import Releases
package import S3
internal import Synchronization
package import System

/// The access keys of the S3 API: each token is one. Its id is the access key's, the SHA-256 of its text the secret.
package final class S3AccessKeys: S3Directory {
    private let accounts: Accounts
    private let tokens: TokenStore
    /// By name: an id costs a digest.
    private let accountIDs = Mutex<[String: String]>([:])

    package init(accounts: Accounts, tokens: TokenStore) {
        self.accounts = accounts
        self.tokens = tokens
    }

    package func accessKey(_ id: String, at time: UnixTime) -> S3AccessKey? {
        guard let (token, secret) = tokens.accessKey(id, at: time) else { return nil }
        let scopes = token.grants.compactMap { grant -> S3Scope? in
            guard (grant.product ?? .r2) == .r2 else { return nil }
            return S3Scope(tenant: grant.tenant, bucket: grant.bucket, level: grant.level == .edit ? .write : .read)
        }
        return S3AccessKey(id: id, secret: secret, scopes: scopes)
    }

    package var tenants: [S3Tenant] {
        let runners = accounts.runners
        return accountIDs.withLock { ids in
            runners.map { runner in
                let id = ids[runner.tenant] ?? Accounts.id(of: runner.tenant)
                ids[runner.tenant] = id
                return S3Tenant(name: runner.tenant, accountID: id, store: runner.objectStore)
            }
        }
    }
}
