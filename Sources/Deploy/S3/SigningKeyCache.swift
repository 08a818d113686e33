internal import Synchronization

/// Keys that were derived lately: a client signs all requests of a day with one, and deriving it takes four times as long as
/// using it.
package final class SigningKeyCache: Sendable {
    private struct Name: Hashable {
        let secret: String
        let scope: String
    }
    private let keys = Mutex<[Name: [UInt8]]>([:])

    /// Beyond it, all are forgotten: scopes are what clients say.
    private static let countMax = 1024

    package init() {}

    func bytes(_ secret: String, _ scope: String, derive: () -> [UInt8]) -> [UInt8] {
        let name = Name(secret: secret, scope: scope)
        if let known = keys.withLock({ $0[name] }) { return known }
        let derived = derive()
        keys.withLock { keys in
            if keys.count >= Self.countMax { keys.removeAll() }
            keys[name] = derived
        }
        return derived
    }
}
