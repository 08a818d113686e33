/// A dataset of the Analytics Engine: `env.analytics("METRICS")`.
///
/// Points are kept by the node and asked for with SQL, see docs/sdk.md.
public struct AnalyticsDataset: Sendable {
    private let transport: any DataPointTransport
    private let binding: UInt16

    package init(transport: any DataPointTransport, binding: UInt16) {
        self.transport = transport
        self.binding = binding
    }

    /// Notes a point, with the node's time. Returns at once, whatever becomes of the point: nothing is acknowledged. The node
    /// has it on disk within a second; what a crash finds in memory is lost.
    ///
    /// A point that breaks a limit is dropped, with a warning in the log.
    ///
    /// - Parameters:
    ///   - indexes: At most one, of at most 96 bytes: the column `index1`.
    ///   - blobs: At most 20, of at most 16 KiB together: `blob1` … `blob20`. `nil` is kept as an empty text.
    ///   - doubles: At most 20: `double1` … `double20`.
    public func writeDataPoint(indexes: [String] = [], blobs: [String?] = [], doubles: [Double] = []) {
        let point = AnalyticsPoint(indexes: indexes, blobs: blobs, doubles: doubles)
        transport.onItsThread { send(point) }
    }

    private func send(_ point: AnalyticsPoint) {
        if let problem = AnalyticsLimits.problem(of: point) { return drop(problem) }
        let count = transport.countDataPoint()
        guard count <= AnalyticsLimits.pointsPerEventMax else {
            // One line is enough.
            guard count == AnalyticsLimits.pointsPerEventMax + 1 else { return }
            return drop("more than \(AnalyticsLimits.pointsPerEventMax) points in one event; the others are dropped too")
        }
        guard transport.post(BindingCall(.analyticsWrite, binding: binding, message: point.encoded())) else {
            return drop("the node doesn't read, or the event is over")
        }
    }

    private func drop(_ reason: String) { transport.warn("writeDataPoint: the point was dropped: \(reason)") }
}

/// How data points reach the node. The isolate's event implements it; tests give their own.
package protocol DataPointTransport: AnyObject, Sendable {
    /// Runs `body` at once on the event's thread, and soon on that thread when called on another. The other methods belong to it.
    func onItsThread(_ body: @escaping @Sendable () -> Void)
    /// Counts one more point of the event, and says how many that makes.
    func countDataPoint() -> Int
    /// Sends a call that has no answer.
    ///
    /// - Returns: false when it can't be sent: it is lost then.
    func post(_ call: BindingCall) -> Bool
    /// Writes a line to the event's log.
    func warn(_ text: String)
}
