/// How far the replacing of a node's process by another is.
package struct UpgradeReport: Equatable, Sendable {
    package enum State: String, Sendable {
        /// None was asked for since the process started, which followed no other.
        case none
        case running, succeeded, failed
    }
    package var state: State
    /// From 1, over all processes of the node.
    package var number: Int64
    /// The executable.
    package var binary: String
    /// Of the process that answers.
    package var processID: Int32
    /// Why it failed, or what it waits for.
    package var detail: String
    /// From the moment when requests had to wait until they were served again.
    package var heldMilliseconds: Int64
    /// WebSockets of durable objects that went to the other process.
    package var socketCount = 0

    package init(
        state: State, number: Int64, binary: String = "", processID: Int32, detail: String = "", heldMilliseconds: Int64 = 0
    ) {
        self.state = state
        self.number = number
        self.binary = binary
        self.processID = processID
        self.detail = detail
        self.heldMilliseconds = heldMilliseconds
    }
}

/// Why no upgrade is begun.
package struct UpgradeRefusal: Error, Sendable {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
}

/// Replaces the process of a node by another one, without losing a request.
package protocol NodeUpgrade: Sendable {
    /// Returns when the other process has been started; the rest goes on by itself.
    ///
    /// - Parameter patience: What it may take until the other one serves; then all stays as it was.
    func begin(binary: String, patience: Duration) async throws(UpgradeRefusal) -> UpgradeReport
    func report() async -> UpgradeReport
}
