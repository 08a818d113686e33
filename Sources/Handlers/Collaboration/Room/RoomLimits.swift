/// What a room takes. Each bound is there so that one member can't use up what all share.
package struct RoomLimits: Sendable {
    /// Connections; one person may have several.
    package var membersMax = 10_000
    /// Of one text message. Operations of the page's client stay far below.
    package var messageByteCountMax = 256 << 10
    package var documentLengthMax = TextDocument.lengthMax
    /// Unicode scalars.
    package var chatLengthMax = 4_000
    package var chatMessagesKept = 100_000
    package var historyPageMax = 100
    package var mentionsMax = 10
    package var topicsMax = 64
    package var topicNameByteCountMax = 100
    package var topicByteCountMax = 8 << 10
    package var subscriptionsMax = 20
    /// Milliseconds between connecting and joining.
    package var joinTime: Int64 = 30_000
    /// A larger room tells how many are there, not who came and went: each arrival would be told to all.
    package var presenceDetailMax = 100
    /// Milliseconds for which a person counts as typing without saying so again.
    package var typingLifetime: Int64 = 6_000
    /// Seconds at most that somebody is kept out or silent.
    package var penaltySecondsMax = 30 * 86_400

    package var messages = RateLimit(perSecond: 60, burst: 240)
    package var operations = RateLimit(perSecond: 25, burst: 100)
    package var chat = RateLimit(perSecond: 2, burst: 10)
    /// Messages beyond the rate that a connection may send before it is ended.
    package var excessMax = 1_000

    package init() {}

    /// Milliseconds for which presence and cursors are gathered: what goes to all costs more, the more there are.
    func gatheringTime(memberCount: Int) -> Int64 { min(2_000, 50 + Int64(memberCount) / 5) }
}

package struct RateLimit: Sendable {
    package var perSecond: Double
    package var burst: Double

    package init(perSecond: Double, burst: Double) {
        self.perSecond = perSecond
        self.burst = burst
    }
}

/// A bucket of tokens that fills as time passes.
struct TokenBucket {
    private var tokens: Double
    private var filledAt: Int64

    init(_ limit: RateLimit, now: Int64) {
        tokens = limit.burst
        filledAt = now
    }

    /// Takes a token.
    ///
    /// - Returns: `nil`, or the milliseconds after which there will be one.
    mutating func take(_ limit: RateLimit, now: Int64) -> Int64? {
        tokens = min(limit.burst, tokens + Double(max(0, now - filledAt)) / 1000 * limit.perSecond)
        filledAt = max(filledAt, now)
        guard tokens >= 1 else { return Int64(((1 - tokens) / limit.perSecond * 1000).rounded(.up)) }
        tokens -= 1
        return nil
    }
}
