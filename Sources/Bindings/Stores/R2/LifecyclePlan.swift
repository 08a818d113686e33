internal import Interfaces

/// What a bucket's lifecycle rules say about one object or upload at one time. Locks win: an object is deleted when the
/// last lock has ended.
struct LifecyclePlan: Sendable {
    private let rules: [R2LifecycleRule]
    private let locks: RetentionPolicy

    init(_ rules: [R2LifecycleRule], locks: [R2LockRule]) {
        self.rules = rules.filter(\.isEnabled)
        self.locks = RetentionPolicy(locks)
    }

    enum Verdict: Equatable {
        case delete
        case transition(R2StorageClass)
        /// Nothing before this time, in milliseconds since 1970; `nil`: nothing at all, as long as the rules stay.
        case keep(until: Int64?)
    }

    func verdict(_ key: String, uploaded: Int64, storageClass: R2StorageClass, now: Int64) -> Verdict {
        var deletion: Int64?
        var transition: Int64?
        for rule in rules where key.startsWithBytes(of: rule.prefix) {
            deletion = Self.earlier(deletion, rule.deleteObjectsTransition?.condition.due(uploaded: uploaded))
            guard storageClass != .infrequentAccess else { continue }
            for item in rule.storageClassTransitions ?? [] {
                transition = Self.earlier(transition, item.condition.due(uploaded: uploaded))
            }
        }
        if let due = deletion {
            switch locks.hold(key, uploaded: uploaded) {
            case .none: break
            case .until(let end): deletion = max(due, end)
            case .forever: deletion = nil
            }
        }
        if let deletion, deletion <= now { return .delete }
        if let transition, transition <= now { return .transition(.infrequentAccess) }
        return .keep(until: Self.earlier(deletion, transition))
    }

    /// When an upload in parts is aborted; `nil`: never.
    func abortion(_ key: String, created: Int64) -> Int64? {
        var due: Int64?
        for rule in rules where key.startsWithBytes(of: rule.prefix) {
            due = Self.earlier(due, rule.abortMultipartUploadsTransition?.condition.due(uploaded: created))
        }
        return due
    }

    /// The prefixes below which objects have to be looked at, in the order of their bytes, none inside another.
    var prefixes: [[UInt8]] {
        let all = rules.filter { $0.deleteObjectsTransition != nil || !($0.storageClassTransitions ?? []).isEmpty }
            .map { Array($0.prefix.utf8) }
            .sorted { $0.lexicographicallyPrecedes($1) }
        return all.reduce(into: []) { kept, prefix in
            if let last = kept.last, prefix.starts(with: last) { return }
            kept.append(prefix)
        }
    }

    /// How soon an object that is written after `now` could be due.
    func earliestDue(writtenAfter now: Int64) -> Int64? {
        rules.flatMap { rule in
            [rule.deleteObjectsTransition?.condition].compactMap { $0 } + (rule.storageClassTransitions ?? []).map(\.condition)
        }.map { max(now, $0.due(uploaded: now)) }.min()
    }

    static func earlier(_ left: Int64?, _ right: Int64?) -> Int64? {
        guard let left, let right else { return left ?? right }
        return min(left, right)
    }
}
