internal import SQLite
internal import System

extension SecretStore {
    /// What a change of the key does, step by step. Tests end it before any of them.
    package enum KeyChangeStep: String, CaseIterable, Sendable {
        case makeNextKey, sealAnew, commit, replaceKey
    }

    /// Seals all secrets of all tenants with a new key, and forgets the old one.
    ///
    /// The new key is on the disk, beside the old one, before anything is sealed with it; all rows change in one transaction,
    /// with the name of the key for new ones; then the new file takes the old one's place. Whoever reads or writes secrets
    /// meanwhile has both keys. After an end at any step everything can be read, and the next change goes on where this
    /// one was.
    ///
    /// With keys from the environment, the present one is the new one.
    ///
    /// - Returns: how many secrets were sealed anew; 0 also when only the last step was left to do.
    /// - Throws: when one can't be opened; nothing has changed then.
    package func changeKey(before: (KeyChangeStep) throws -> Void = { _ in }) throws -> Int {
        try connection.withLock { connection in
            let sqlite = connection.sqlite
            let count: Int
            switch source {
            case .readOnlyFile(let path): throw SecretError.noNextKey(path)
            case .values:
                guard let next = try source.keys().first else { throw SecretError.missingKey(source.place) }
                count = try sealAnew(with: next, sqlite, before)
            case .file(let path):
                guard let old = try source.keys().first, FileTree.exists(path) else { throw SecretError.missingKey(path) }
                let nextPath = SecretKeySource.nextPath(path)
                if !FileTree.exists(nextPath) {
                    try before(.makeNextKey)
                    try Self.makeKey(nextPath)
                }
                guard let next = try source.keys().first(where: { $0.id != old.id }) else {
                    throw SecretError.missingKey(nextPath)
                }
                count = try sealAnew(with: next, sqlite, before)
                try before(.replaceKey)
                try FileTree.rename(nextPath, to: path)
            }
            return count
        }
    }

    private func sealAnew(
        with next: SecretKey, _ sqlite: SQLiteConnection, _ before: (KeyChangeStep) throws -> Void
    ) throws -> Int {
        try Self.transaction(sqlite) {
            try before(.sealAnew)
            var rows: [(row: Row, sealed: Sealed, time: Int64)] = []
            let statement = try sqlite.prepare(
                "SELECT tenant, worker, name, nonce, sealed, key_id, modified_at FROM tenant_secrets")
            while try statement.step() {
                let row = Row(
                    tenant: statement.text(0) ?? "", worker: statement.text(1) ?? "", name: statement.text(2) ?? "")
                let sealed = Sealed(nonce: statement.blob(3), bytes: statement.blob(4), keyID: statement.blob(5))
                if sealed.keyID != next.id { rows.append((row, sealed, statement.integer(6))) }
            }
            for (row, sealed, time) in rows {
                // Only what it is sealed with changes.
                try write(row, try open(sealed, row), next, at: UnixTime(milliseconds: time), sqlite)
            }
            try setPresentKey(next, sqlite)
            try before(.commit)
            return rows.count
        }
    }
}
