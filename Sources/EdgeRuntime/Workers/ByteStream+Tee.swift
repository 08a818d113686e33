extension ByteStream {
    /// Two streams with the same bytes; this one is used up. What one branch has read and the other has not is kept in
    /// memory, so read both at about the same pace, or cancel the one that isn't wanted.
    public func tee() -> (ByteStream, ByteStream) {
        let tee = Tee(self)
        return (
            ByteStream(source: TeeBranch(tee, .first), length: length),
            ByteStream(source: TeeBranch(tee, .second), length: length)
        )
    }
}

private enum Branch: Int {
    case first = 0
    case second = 1
    var other: Branch { self == .first ? .second : .first }
}

/// Pulls from the source for whichever branch needs bytes first. Touched by the isolate's thread alone.
private final class Tee {
    private let source: ByteStream
    private var pending: [[[UInt8]]] = [[], []]
    private var isCancelled = [false, false]
    private var isPulling = false
    private var waiters: [Waiter] = []

    init(_ source: ByteStream) { self.source = source }

    func next(_ branch: Branch) async throws -> [UInt8]? {
        while true {
            if !pending[branch.rawValue].isEmpty { return pending[branch.rawValue].removeFirst() }
            guard isPulling else { break }
            await Waiter.suspend(countedBy: nil) { waiters.append($0) }
        }
        isPulling = true
        defer {
            isPulling = false
            let woken = waiters
            waiters = []
            for waiter in woken { waiter.wake() }
        }
        let piece = try await source.next()
        if let piece, !isCancelled[branch.other.rawValue] { pending[branch.other.rawValue].append(piece) }
        return piece
    }

    func cancel(_ branch: Branch) {
        isCancelled[branch.rawValue] = true
        pending[branch.rawValue] = []
        if isCancelled[branch.other.rawValue] { source.cancel() }
    }
}

private final class TeeBranch: ByteStreamSource {
    private let tee: Tee
    private let branch: Branch

    init(_ tee: Tee, _ branch: Branch) {
        self.tee = tee
        self.branch = branch
    }

    func next() async throws -> [UInt8]? { try await tee.next(branch) }
    func cancel() { tee.cancel(branch) }
}
