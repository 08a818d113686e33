internal import LMDB

extension EmbeddedKVStore {
    /// Writes the whole store as it is now to a new file, which an environment can be opened with. Writes go on meanwhile.
    package func copy(to path: String) async throws(KVError) {
        let copied = await engine.threads.run { [engine] in
            Result { () throws(LMDBError) in try engine.environment.copy(to: path) }
        }
        do throws(LMDBError) { try copied.get() } catch {
            logger.log(.error, "kv copy failed", [("error", "\(error)")])
            throw .failed
        }
    }
}
