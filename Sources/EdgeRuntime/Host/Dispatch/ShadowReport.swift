internal import Synchronization

/// How a candidate answers copies of requests that another release has answered. Safe on any thread.
package final class ShadowReport: Sendable {
    package struct Difference: Equatable, Sendable {
        /// `GET /path`, without the query, which may hold secrets.
        package let request: String
        /// `status 200, candidate 500`.
        package let text: String
    }

    package struct Reading: Equatable, Sendable {
        package var equal = 0
        package var different = 0
        /// The candidate gave no answer, or not all of it in time.
        package var failed = 0
        /// There were too many at once, or the original's answer can't be compared.
        package var skipped = 0
        /// The first ones.
        package var differences: [Difference] = []

        package init() {}
    }

    private let state = Mutex(Reading())

    static let differencesMax = 20
    private static let textBytesMax = 256

    package init() {}

    package func read() -> Reading { state.withLock { $0 } }

    func skipped() { state.withLock { $0.skipped += 1 } }

    func failed(_ request: String, _ reason: String) {
        note(request, reason) { $0.failed += 1 }
    }

    func compared(_ request: String, _ differences: [String]) {
        guard !differences.isEmpty else { return state.withLock { $0.equal += 1 } }
        note(request, differences.joined(separator: "; ")) { $0.different += 1 }
    }

    private func note(_ request: String, _ text: String, _ count: (inout Reading) -> Void) {
        state.withLock { reading in
            count(&reading)
            guard reading.differences.count < Self.differencesMax else { return }
            reading.differences.append(Difference(request: Self.shortened(request), text: Self.shortened(text)))
        }
    }

    private static func shortened(_ text: String) -> String { String(decoding: text.utf8.prefix(textBytesMax), as: UTF8.self) }
}

/// The share of safe requests whose copies a candidate gets. Their answers are compared and forgotten.
package struct TrafficShadow: Sendable {
    package let candidate: TrafficSplit
    /// Of 100.
    package let percent: Int

    package init(candidate: TrafficSplit, percent: Int) {
        self.candidate = candidate
        self.percent = percent
    }
}
