import Platform
import Workers

/// Looks after a while whether the logins that connections were made with still live: a WebSocket is verified when it opens, and may
/// stay open for days.
final class LoginCheck {
    private static let interval: Int64 = 60_000
    /// One event has so many calls to spare. In a larger room each login's turn comes later.
    private static let countMax = 200

    private var checkedAt: Int64?
    private var next = ""

    /// Whether a check should begin, as when the object has just woken; it counts as begun then.
    func isDue(_ now: Int64) -> Bool {
        if let checkedAt, now - checkedAt < Self.interval { return false }
        checkedAt = now
        return true
    }

    /// Which of them have ended.
    func ended(among sessions: Set<String>, _ env: Env) async throws -> Set<String> {
        let store = try Sessions(env)
        let ordered = sessions.sorted()
        let turn = (ordered.filter { $0 > next } + ordered.filter { $0 <= next }).prefix(Self.countMax)
        next = turn.last ?? ""
        var ended: Set<String> = []
        for session in turn where try await !store.isLive(session) { ended.insert(session) }
        return ended
    }
}
