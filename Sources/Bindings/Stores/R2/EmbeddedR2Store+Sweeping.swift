package import Interfaces
internal import LMDB
internal import System

/// What a sweep removed.
package struct R2SweepReport: Equatable, Sendable, CustomStringConvertible {
    /// Files that the index doesn't name.
    package var orphans = 0
    /// Files of writes that never ended.
    package var temporaries = 0
    /// Uploads in parts that were begun too long ago.
    package var uploads = 0

    package var isEmpty: Bool { self == R2SweepReport() }
    package var description: String {
        "\(orphans) orphaned blobs, \(temporaries) temporary files, \(uploads) expired uploads removed"
    }
}

extension EmbeddedR2Store {
    /// Removes what a crash or a failed unlink left behind, and uploads past their lifetime. Safe at any
    /// time and beside any other call.
    package func sweep() async throws(R2Failure) -> R2SweepReport {
        var report = R2SweepReport()
        report.uploads = try await abortDueUploads()
        guard !isIndexUncertain.load(ordering: .relaxed) else { return report }
        report.temporaries = try await threads.run { () throws(R2Failure) in try self.sweepTemporaries() }
        for shard in 0...UInt8.max {
            if Task.isCancelled { return report }
            report.orphans += try await threads.run { () throws(R2Failure) in try self.sweep(shard: shard) }
        }
        return report
    }

    private func sweepTemporaries() throws(R2Failure) -> Int {
        try diskCall { () throws(SystemError) in
            let stale = try files.temporaries().filter { !use.isHeld($0) }
            for blob in stale { try files.removeTemporary(blob) }
            return stale.count
        }
    }

    private func sweep(shard: UInt8) throws(R2Failure) -> Int {
        let orphans = try orphans(inShard: shard).orphans
        return try diskCall { () throws(SystemError) in
            for blob in orphans { try files.unlink(blob) }
            return orphans.count
        }
    }

    /// Files that belong to nothing, and how many there are in all.
    func orphans(inShard shard: UInt8) throws(R2Failure) -> (fileCount: Int, orphans: [Identifier]) {
        let listed = try diskCall { () throws(SystemError) in try files.blobs(inShard: shard) }
        if listed.isEmpty { return (0, []) }
        // First who holds them, then what the index says: a blob between the two states is seen in one
        // of them.
        let free = listed.filter { !use.isHeld($0) }
        let orphans = try read("sweep") { transaction throws(LMDBError) in
            var orphans: [Identifier] = []
            for blob in free where try !index.isUsed(blob, transaction) { orphans.append(blob) }
            return orphans
        }
        return (listed.count, orphans)
    }

    func diskCall<Value>(_ body: () throws(SystemError) -> Value) throws(R2Failure) -> Value {
        do throws(SystemError) { return try body() } catch { throw report(error, "sweep") }
    }
}
