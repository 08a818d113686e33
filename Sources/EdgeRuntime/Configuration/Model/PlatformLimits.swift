/// The limits of a plan: one table, each value with its reason. A worker's `limits` choose inside it.
package enum LimitProfile: String, CaseIterable, Sendable {
    case free = "cloudflare-free"
    case paid = "cloudflare-paid"
    /// What the node can carry rather than what a plan sells.
    case custom

    package var table: PlatformLimits {
        switch self {
        case .free: .free
        case .paid: .paid
        case .custom: .custom
        }
    }
}

package struct PlatformLimits: Sendable {
    /// A value when nothing is said, and the most that can be said.
    package struct Limit<Value: Comparable & Sendable>: Sendable {
        package let standard: Value
        package let most: Value
        init(_ standard: Value, most: Value) {
            self.standard = standard
            self.most = most
        }
    }

    /// CPU time of one event: a handler that computes for longer starves its isolate's other events.
    package let cpu: Limit<Duration>
    /// Wall time of one event: bounds what a stuck peer can hold.
    package let wall: Limit<Duration>
    /// Of one isolate: what a node can promise to each of its tenants.
    package let memoryByteCount: Limit<Int>
    /// Calls out of one event: bounds the load that one request can multiply into.
    package let subrequests: Limit<Int>
    /// Of one request: refused before it is read when its length is known.
    package let bodyByteCount: Limit<Int>
    /// Variables and secrets together: they are sent to each isolate when it starts.
    package let variableCountMax: Int
    package let workerCountMax: Int
    package let cronCountMax: Int
    /// From outside to the tenant's workers with this profile, by UTC day; `nil`: as many as come.
    package let requestsPerDayMax: Int?
    /// A tenant's D1 databases: how many, the bytes of each and of all.
    package let d1CountMax: Int
    package let d1ByteCountMax: Int64
    package let d1TotalByteCountMax: Int64

    /// Of one variable or secret.
    package static let variableByteCountMax = 5 * 1024
    /// Cron, queue and alarm events that fire less than hourly may compute for as long as they may run.
    package static let batchCPU: Duration = .seconds(15 * 60)
    package static let batchWall: Duration = .seconds(15 * 60)
    /// From spawn to readiness.
    package static let startUp: Duration = .seconds(1)
    /// Work after the response.
    package static let waitUntil: Duration = .seconds(30)
    /// Connections of one event that wait for response headers.
    package static let pendingFetchesMax = 6
    package static let urlByteCountMax = 16 << 10
    package static let headByteCountMax = 128 << 10

    static let free = PlatformLimits(
        cpu: Limit(.milliseconds(10), most: .milliseconds(10)),
        wall: Limit(.seconds(100), most: .seconds(15 * 60)),
        memoryByteCount: Limit(128 << 20, most: 128 << 20), subrequests: Limit(50, most: 50),
        bodyByteCount: Limit(100_000_000, most: 100_000_000),
        variableCountMax: 64, workerCountMax: 100, cronCountMax: 5, requestsPerDayMax: 100_000,
        d1CountMax: 10, d1ByteCountMax: 500_000_000, d1TotalByteCountMax: 5_000_000_000)

    static let paid = PlatformLimits(
        cpu: Limit(.seconds(30), most: .seconds(300)),
        wall: Limit(.seconds(100), most: .seconds(15 * 60)),
        memoryByteCount: Limit(128 << 20, most: 1 << 30), subrequests: Limit(1000, most: 10_000),
        bodyByteCount: Limit(100_000_000, most: 500_000_000),
        variableCountMax: 128, workerCountMax: 500, cronCountMax: 250, requestsPerDayMax: nil,
        d1CountMax: 50_000, d1ByteCountMax: 10_000_000_000, d1TotalByteCountMax: 250_000_000_000)

    static let custom = PlatformLimits(
        cpu: Limit(.seconds(30), most: .seconds(300)),
        wall: Limit(.seconds(100), most: .seconds(24 * 3600)),
        memoryByteCount: Limit(128 << 20, most: 1 << 30), subrequests: Limit(1000, most: 1_000_000),
        bodyByteCount: Limit(100_000_000, most: 1 << 40),
        variableCountMax: 1024, workerCountMax: 10_000, cronCountMax: 10_000, requestsPerDayMax: nil,
        d1CountMax: 50_000, d1ByteCountMax: 1_000_000_000_000, d1TotalByteCountMax: 10_000_000_000_000)
}
