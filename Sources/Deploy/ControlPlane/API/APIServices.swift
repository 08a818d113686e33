package import Host
package import Observability
package import Releases
package import System

/// What the operations of a node's API work on.
package struct APIServices: Sendable {
    package let accounts: Accounts
    package let tokens: TokenStore
    package let audit: AuditLog
    /// `nil`: tenants come from configuration alone.
    package let tenants: TenantHost?
    /// `nil`: nothing is deployed over the API but single workers.
    package let releases: ReleaseServices?
    /// `nil`: the node can't be taken out of service.
    package let drain: NodeDrain?
    package let node: Node?
    /// `nil`: the node's process can't be replaced.
    package let upgrade: (any NodeUpgrade)?
    /// Of the node.
    package let version: String
    package let clock: any NodeClock
    package let logger: Logger
    /// For short waits on `control.sqlite`.
    package let disk = BlockingPool(name: "edge-api", threadCount: 1)
    /// For what takes more computing than a reactor's turn has time for.
    package let work = BlockingPool(name: "edge-api-work", threadCount: 1)

    package init(
        accounts: Accounts, tokens: TokenStore, audit: AuditLog, tenants: TenantHost? = nil, drain: NodeDrain? = nil,
        node: Node? = nil, upgrade: (any NodeUpgrade)? = nil, releases: ReleaseServices? = nil, version: String,
        clock: any NodeClock, logger: Logger
    ) {
        self.accounts = accounts
        self.tokens = tokens
        self.audit = audit
        self.tenants = tenants
        self.releases = releases
        self.drain = drain
        self.node = node
        self.upgrade = upgrade
        self.version = version
        self.clock = clock
        self.logger = logger
    }
}
