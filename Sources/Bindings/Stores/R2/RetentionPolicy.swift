internal import Interfaces

/// What a bucket's lock rules say about one object.
struct RetentionPolicy: Sendable {
    private let rules: [R2LockRule]

    init(_ rules: [R2LockRule]) { self.rules = rules.filter(\.isEnabled) }

    enum Hold: Equatable {
        case none
        /// Milliseconds since 1970.
        case until(Int64)
        case forever
    }

    /// How long the object is kept: the longest of all rules that match.
    func hold(_ key: String, uploaded: Int64) -> Hold {
        var hold = Hold.none
        for rule in rules where key.startsWithBytes(of: rule.prefix) {
            guard let end = rule.condition.end(uploaded: uploaded) else { return .forever }
            if case .until(let other) = hold, other >= end { continue }
            hold = .until(end)
        }
        return hold
    }

    func isLocked(_ key: String, uploaded: Int64, now: Int64) -> Bool {
        switch hold(key, uploaded: uploaded) {
        case .none: false
        case .until(let end): now < end
        case .forever: true
        }
    }
}
