internal import Caching
internal import Synchronization
internal import System

extension EmbeddedResponseCache {
    /// What `verify` has found.
    package struct Verification: Equatable, Sendable {
        /// Whole, and as they were stored.
        package var entries = 0
        package var byteCount: Int64 = 0
        /// Damaged or gone; they aren't found any more.
        package var damaged = 0
        /// Files that nobody knew; removed.
        package var orphans = 0

        package init(entries: Int = 0, byteCount: Int64 = 0, damaged: Int = 0, orphans: Int = 0) {
            self.entries = entries
            self.byteCount = byteCount
            self.damaged = damaged
            self.orphans = orphans
        }
    }

    /// Compares each entry with its files. What isn't as it was is removed. Goes on beside everything else.
    package func verify() async -> Verification {
        var report = Verification()
        let files = files
        for (id, entry) in state.withLock({ $0.index.entries }) {
            let found = await pool.run { files.read(id) }
            if let found, found.response == entry.response, found.inlineByteCount == entry.inlineByteCount {
                report.entries += 1
                report.byteCount += entry.byteCount
            } else if state.withLock({ $0.index.entries[id]?.hit === entry.hit }) {
                report.damaged += 1
                forget([id])
            }
        }
        let orphans = await pool.run { files.ids() }.filter { id in
            // A file gets its name before its entry is known.
            state.withLock { $0.index.entries[id] == nil && $0.fills[id] == nil && id < $0.nextID }
        }
        report.orphans = orphans.count
        await unlink(Array(orphans))
        return report
    }
}
