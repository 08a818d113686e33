internal import LMDB
internal import System

extension EmbeddedKVStore: KVAdministration {
    package func namespaces() async throws(KVAdministrationError) -> [KVNamespaceDescription] {
        try await read("list namespaces") { catalog, transaction throws(LMDBError) in
            var descriptions: [KVNamespaceDescription] = []
            for entry in try catalog.all(transaction) {
                descriptions.append(KVNamespaceDescription(entry, try catalog.usage(of: entry.id, transaction)))
            }
            return descriptions
        }
    }

    package func namespace(id: String) async throws(KVAdministrationError) -> KVNamespaceDescription {
        let found = try await read("find namespace") { catalog, transaction throws(LMDBError) in
            try catalog.entry(id, transaction).map { entry throws(LMDBError) in
                KVNamespaceDescription(entry, try catalog.usage(of: entry.id, transaction))
            }
        }
        guard let found else { throw .notFound }
        return found
    }

    package func usage() async throws(KVAdministrationError) -> KVUsage {
        try await read("usage") { catalog, transaction throws(LMDBError) in try catalog.usage(of: nil, transaction) }
    }

    package func createNamespace(title: String) async throws(KVAdministrationError) -> KVNamespaceDescription {
        // It blocks for the disk.
        let result = await engine.threads.run { [self] in Result { try create(title, orTake: false) } }
        do {
            return KVNamespaceDescription(try result.get(), KVUsage())
        } catch { throw administrationError("create namespace", error) }
    }

    package func renameNamespace(
        id: String, title: String
    ) async throws(KVAdministrationError) -> KVNamespaceDescription {
        guard KVCatalog.isTitle(title) else { throw .badTitle }
        return try await change("rename namespace") { catalog, transaction in
            guard var entry = try catalog.entry(id, transaction.reading) else { throw KVAdministrationError.notFound }
            if let other = try catalog.entry(titled: title, transaction.reading), other.id != id {
                throw KVAdministrationError.titleTaken
            }
            let old = entry.title
            entry.title = title
            if old != title { try catalog.rename(entry, from: old, transaction) }
            return KVNamespaceDescription(entry, try catalog.usage(of: id, transaction.reading))
        }
    }

    package func deleteNamespace(id: String) async throws(KVAdministrationError) {
        let entry = try await read("find namespace") { catalog, transaction throws(LMDBError) in
            try catalog.entry(id, transaction)
        }
        guard let entry else { throw .notFound }
        let opened = await engine.threads.run { [engine] in
            Result { () throws(LMDBError) in try engine.open(entry) }
        }
        let state: KVNamespaceState
        do throws(LMDBError) { state = try opened.get() } catch { throw administrationError("delete namespace", error) }
        do {
            try await change("delete namespace") { [engine] catalog, transaction in
                guard let present = try catalog.entry(id, transaction.reading) else { throw KVAdministrationError.notFound }
                state.setDeleted(false)  // An earlier run may have set it.
                try engine.tables.removeAll(in: state, transaction)
                try catalog.remove(present, transaction)
                state.setDeleted(true)
            }
        } catch {
            if error != .notFound { state.setDeleted(false) }
            throw error
        }
        engine.forget(state)
    }

    package func openNamespace(id: String) async throws(KVAdministrationError) -> any KVBulkNamespace {
        let entry = try await read("find namespace") { catalog, transaction throws(LMDBError) in
            try catalog.entry(id, transaction)
        }
        guard let entry else { throw .notFound }
        let opened = await engine.threads.run { [self] in Result { () throws(LMDBError) in try open(entry) } }
        do throws(LMDBError) { return try opened.get() } catch { throw administrationError("open namespace", error) }
    }

    // MARK: Inside

    private func read<Value: Sendable>(
        _ operation: String,
        _ body: @escaping @Sendable (KVCatalog, borrowing LMDBReadTransaction) throws(LMDBError) -> Value
    ) async throws(KVAdministrationError) -> Value {
        let result = await engine.threads.run { [engine] in
            Result { () throws(LMDBError) in
                try engine.environment.read { transaction throws(LMDBError) in
                    try body(engine.tables.catalog, transaction)
                }
            }
        }
        do throws(LMDBError) { return try result.get() } catch { throw administrationError(operation, error) }
    }

    private func change<Value: Sendable>(
        _ operation: String,
        _ body: @escaping @Sendable (KVCatalog, borrowing LMDBWriteTransaction) throws -> Value
    ) async throws(KVAdministrationError) -> Value {
        let catalog = engine.tables.catalog
        do {
            return try await engine.committer.submit { try body(catalog, $0) }
        } catch { throw administrationError(operation, error) }
    }

    private func administrationError(_ operation: String, _ error: any Error) -> KVAdministrationError {
        if let error = error as? KVAdministrationError { return error }
        if let error = error as? KVError, error == .namespaceNotFound { return .notFound }
        if let error = error as? GroupCommitter.Failure, error == .overloaded { return .overloaded }
        logger.log(.error, "kv: \(operation) failed", [("error", "\(error)")])
        return .failed
    }
}

extension KVNamespaceDescription {
    init(_ entry: KVCatalog.Entry, _ usage: KVUsage) {
        id = entry.id
        title = entry.title
        firstTitle = entry.firstTitle
        createdAt = UnixTime(milliseconds: entry.createdAt)
        self.usage = usage
    }
}
