/// What a node that has heard of its leader no more makes of what the other nodes say: the termination protocol of a two-phase
/// commit, among those that are left. Pure.
///
/// It asks only after it has written down that it hears no word of the leader any more. So when all say that they ask, nobody was
/// told to keep the release, and nobody will be: all go back. One that keeps it may have been told so: all keep it. One that has
/// gone back, or never switched, can't have been waited for: all go back. Whoever still hears the leader decides that soon, and is
/// asked again. Only one that can't be reached may know more than all others: it is tried for a while, and what it knows is then
/// passed over.
package enum CoordinationPoll {
    package enum Answer: Equatable, Sendable {
        case vote(Coordination.Vote)
        /// It has no such deployment: what it serves was what is asked for, so it was never one of those that switch.
        case stranger
        /// And why.
        case unreached(String)
    }

    enum Ruling: Equatable, Sendable {
        case keep(String)
        case goBack(String)
        /// For what.
        case wait(String)
    }

    /// - Parameter isLate: Nobody is waited for any more who can't be reached.
    static func ruling(_ answers: [(name: String, answer: Answer)], isLate: Bool) -> Ruling {
        func names(_ votes: Coordination.Vote...) -> String? {
            let names = answers.filter { answer in votes.contains { answer.answer == .vote($0) } }.map(\.name)
            return names.isEmpty ? nil : names.joined(separator: ", ")
        }
        if let names = names(.kept) { return .keep("kept by \(names)") }
        if let names = names(.back) { return .goBack("\(names) went back") }
        if let names = names(.unswitched) { return .goBack("\(names) never switched") }
        let unreached = answers.compactMap { name, answer -> String? in
            guard case .unreached(let reason) = answer else { return nil }
            return "\(name) (\(reason))"
        }
        if let names = names(.watching, .waiting) {
            return .wait(
                "\(names) may still hear it" + (unreached.isEmpty ? "" : "; not reached: " + unreached.joined(separator: ", ")))
        }
        guard !unreached.isEmpty else { return .goBack("no other node was told to keep it") }
        let text = "not reached: " + unreached.joined(separator: ", ")
        return isLate ? .goBack("no node that could be asked was told to keep it; \(text)") : .wait(text)
    }
}
