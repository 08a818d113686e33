// The room of simulation: stores as an edge network has them, late, repeating themselves and failing now and then, for
// dev and tests. It only wraps the store protocols; it keeps nothing on a disk, and no engine knows of it.

package import Observability
package import StoresD1
package import StoresKV
package import StoresQueues
package import StoresR2
package import System

/// What is simulated, and how much of it. All values of a schedule follow from `seed`.
package struct SimulationSettings: Sendable, Equatable {
    package var seed: UInt64
    /// How long a binding's KV reads repeat what they found, also that there was nothing; zero: not at all.
    package var kvStaleness = Duration.seconds(60)
    /// Whether a second write to a KV key within a second is refused.
    package var limitsKVWrites = false
    /// How far at most the state is behind that an unconstrained D1 session reads; zero: not at all.
    package var d1Lag = Duration.seconds(5)
    /// KV and R2 calls, of a hundred, that end with the product's 5xx.
    package var failurePercentage = 1
    /// How long at most one call in ten waits before it begins; zero: none does.
    package var latency = Duration.milliseconds(250)
    /// Messages, of a hundred, that come again although they were acknowledged.
    package var queueDuplicatePercentage = 5
    /// Whether messages overtake one another.
    package var reordersQueues = true

    package init(seed: UInt64) { self.seed = seed }
}

/// Wraps the stores of one tenant. Each binding of each worker has wrappers of its own: what a real network tells apart by
/// place is told apart by binding here.
package struct StoreSimulation: Sendable {
    private let settings: SimulationSettings
    private let clock: any NodeClock
    private let logger: Logger

    package init(_ settings: SimulationSettings, clock: any NodeClock, logger: Logger) {
        self.settings = settings
        self.clock = clock
        self.logger = logger
    }

    /// - Parameter binding: `WORKER/BINDING`: part of what each decision follows from.
    package func wrap(_ namespace: any KVStoreNamespace, binding: String) -> any KVStoreNamespace {
        SimulatedKVNamespace(namespace, schedule(binding), settings, clock: clock)
    }

    /// - Parameter replicas: Who can read a state that is some moments old.
    package func wrap(
        _ store: any D1Store, replicas: any D1ReplicaSource, binding: String
    ) -> any D1Store {
        SimulatedD1Store(store, replicas: replicas, schedule(binding), settings, clock: clock)
    }

    package func wrap(_ store: any R2Store, binding: String) -> any R2Store {
        SimulatedR2Store(store, schedule(binding))
    }

    /// For those who send.
    package func wrapProducer(_ store: any QueueStore, binding: String) -> any QueueStore {
        SimulatedQueueProducer(store, schedule(binding), settings)
    }

    /// For the one who delivers.
    package func wrapConsumer(_ store: any QueueStore) -> any QueueStore {
        SimulatedQueueConsumer(store, schedule("consumer"), settings)
    }

    private func schedule(_ binding: String) -> SimulationSchedule {
        SimulationSchedule(settings, binding: binding, clock: clock, logger: logger)
    }
}
