internal import LMDB

extension EmbeddedKVStore {
    /// Looks at every record, every long key, the expiry index, the accounts and the catalog, and reads every value once.
    ///
    /// One snapshot for all of it: the store goes on meanwhile, but its file grows by what is overwritten, and a write that
    /// needs a larger map waits.
    package func verify() async throws(KVError) -> KVVerification { try await examine().result }

    /// Mends what can be mended without losing anything that could still be read: the expiry index, accounts, buckets and the
    /// catalog. Torn and changed records stay as they are, for whoever has a copy.
    ///
    /// - Returns: what is left.
    package func repair() async throws(KVError) -> KVVerification {
        var repairedCount = 0
        // A thousand findings a round, as `verify` names no more; mending may uncover others.
        for _ in 0..<Self.repairRoundsMax {
            let (result, repairs, spaces) = try await examine()
            // Counting comes last: it counts what the others leave.
            let isCounting = { (repair: KVRepair) in if case .recount = repair { true } else { false } }
            let ordered = repairs.filter { !isCounting($0) } + repairs.filter(isCounting).prefix(1)
            let done = try await mend(ordered, spaces)
            repairedCount += done
            guard done > 0 else {
                var left = result
                left.repairedCount = repairedCount
                return left
            }
        }
        var left = try await examine().result
        left.repairedCount = repairedCount
        return left
    }

    private static let repairRoundsMax = 100

    /// Some at a time: what one transaction may change is bounded.
    ///
    /// - Returns: how many were still needed.
    private func mend(_ repairs: [KVRepair], _ spaces: [String: KeySpace]) async throws(KVError) -> Int {
        let (tables, now) = (engine.tables, engine.now)
        var doneCount = 0
        do {
            for start in stride(from: 0, to: repairs.count, by: Self.repairBatchMax) {
                let batch = repairs[start..<min(repairs.count, start + Self.repairBatchMax)]
                doneCount += try await engine.committer.submit { transaction in
                    var count = 0
                    for repair in batch {
                        let isDone = try tables.repair(repair, spaces: spaces, now: now, transaction)
                        count += isDone ? 1 : 0
                    }
                    return count
                }
            }
        } catch { throw failed("repair", error) }
        return doneCount
    }

    private static let repairBatchMax = 100

    private typealias Examination = (result: KVVerification, repairs: [KVRepair], spaces: [String: KeySpace])

    private func examine() async throws(KVError) -> Examination {
        let engine = engine
        let examined = await engine.threads.run {
            Result { () throws(LMDBError) -> Examination in
                var spaces: [String: KeySpace] = [:]
                for name in try engine.environment.databaseNames() where name.hasPrefix(KVCatalog.databasePrefix) {
                    spaces[String(name.dropFirst(KVCatalog.databasePrefix.count))] =
                        KeySpace(database: try engine.environment.openDatabase(name))
                }
                var verifier = KVVerifier(tables: engine.tables, spaces: spaces)
                try engine.environment.read { transaction throws(LMDBError) in try verifier.run(transaction) }
                return (verifier.result, verifier.repairs, spaces)
            }
        }
        do throws(LMDBError) { return try examined.get() } catch { throw failed("verify", error) }
    }

    private func failed(_ operation: String, _ error: any Error) -> KVError {
        logger.log(.error, "kv \(operation) failed", [("error", "\(error)")])
        return .failed
    }
}
