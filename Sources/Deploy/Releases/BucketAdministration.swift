internal import StoresQueues
package import StoresR2

/// What the control plane manages of a tenant: its buckets, and the queues that they tell of changes.
package struct BucketAdministration: Sendable {
    package let store: EmbeddedR2Store
    private let queues: EmbeddedQueueStore

    init(buckets: EmbeddedR2Store, queues: EmbeddedQueueStore) {
        store = buckets
        self.queues = queues
    }

    /// A queue as rules name it and as clients do.
    package struct Queue: Equatable, Sendable {
        package let id: String
        package let name: String
    }

    /// The queue of this id, or of this name; `nil` when there is none.
    package func queue(_ text: String) throws -> Queue? {
        if let record = try queues.queue(withID: text.lowercased()) { return Queue(id: record.id, name: record.name) }
        do throws(QueueError) {
            let record = try queues.queue(text)
            return Queue(id: record.id, name: record.name)
        } catch {
            if case .noSuchQueue = error { return nil }
            throw error
        }
    }
}
