internal import Synchronization
package import System

/// Executables that a tenant has brought for a deployment to come: kept for a while, although nothing is made of them yet.
///
/// Only the tenant that brought one, or has a version of it, may make something of it: whoever merely knows the hash of another
/// tenant's executable has not shown that it is theirs. Safe on any thread.
package final class ArtifactLeases: Sendable {
    private struct Lease {
        let tenant: String
        let hold: ArtifactStore.Hold
        var until: Instant
    }
    private let clock: any NodeClock
    private let leases = Mutex<[Lease]>([])

    /// Long enough for the slowest upload of the others.
    private static let duration = Duration.seconds(3600)
    /// Of one tenant. The oldest go first.
    private static let countMax = 256

    package init(clock: any NodeClock) { self.clock = clock }

    /// Keeps what was brought, or is asked for again.
    package func keep(_ hold: ArtifactStore.Hold, for tenant: String) {
        let now = clock.now()
        leases.withLock { leases in
            leases.removeAll { $0.until <= now || $0.tenant == tenant && $0.hold.hash == hold.hash }
            let own = leases.indices.filter { leases[$0].tenant == tenant }
            if own.count >= Self.countMax, let oldest = own.first { leases.remove(at: oldest) }
            leases.append(Lease(tenant: tenant, hold: hold, until: now + Self.duration))
        }
    }

    /// What the tenant has brought; lasts anew from now on. `nil` when it has not.
    package func renew(_ hash: String, of tenant: String) -> ArtifactStore.Hold? {
        guard let found = find(hash, of: tenant) else { return nil }
        keep(found, for: tenant)
        return found
    }

    package func find(_ hash: String, of tenant: String) -> ArtifactStore.Hold? {
        let now = clock.now()
        return leases.withLock { leases in
            leases.first { $0.tenant == tenant && $0.hold.hash == hash && $0.until > now }?.hold
        }
    }

    /// Nothing is made of these.
    package func drop(_ hashes: Set<String>, of tenant: String) {
        leases.withLock { leases in leases.removeAll { $0.tenant == tenant && hashes.contains($0.hold.hash) } }
    }
}
