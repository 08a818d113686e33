package import Interfaces
internal import LMDB
internal import Stores

/// Events that wait for one queue, oldest first.
package struct R2PendingEvents: Sendable {
    package let queue: String
    package let events: [R2ObjectEvent]
    let keys: [[UInt8]]
}

/// The outbox, for the one who empties it.
extension EmbeddedR2Store {
    /// Events for the first queue that has some and whose name is greater than `queue`.
    package func pendingEvents(afterQueue queue: String?, countMax: Int) async throws(R2Failure) -> R2PendingEvents? {
        try await threads.run { () throws(R2Failure) in
            try self.read("events") { transaction throws(LMDBError) in
                try self.index.outbox.first(afterQueue: queue, countMax: countMax, transaction).map {
                    R2PendingEvents(queue: $0.queue, events: $0.events, keys: $0.keys)
                }
            }
        }
    }

    /// Forgets the first so many of `pending`: their queue has them.
    package func removeEvents(_ pending: R2PendingEvents, first count: Int) async throws(R2Failure) {
        let keys = Array(pending.keys.prefix(count))
        try await commit("events", byteCount: keys.count * 32) { [index] transaction in
            try index.outbox.remove(keys, transaction)
        }
    }

    /// How many events wait.
    package func pendingEventCount() throws(R2Failure) -> Int {
        try read("events") { transaction throws(LMDBError) in try index.outbox.count(transaction) }
    }
}
