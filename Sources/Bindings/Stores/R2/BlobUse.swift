internal import Synchronization

/// Which blobs must not be unlinked although the index doesn't name them: those that are written and not
/// yet committed, and those of replaced objects that someone still reads piece by piece.
final class BlobUse: Sendable {
    private struct State {
        /// Blobs being written.
        var written: Set<Identifier> = []
        /// Readers by version.
        var pins: [Identifier: Int] = [:]
        /// Blobs of replaced versions that wait for their last reader.
        var deferred: [Identifier: [Identifier]] = [:]
        /// Versions whose blobs are being unlinked: nobody may begin to read them.
        var doomed: Set<Identifier> = []
        /// How many copies of the whole store are being made; no file that one of them may name goes away meanwhile.
        var holdCount = 0
        /// What would be unlinked if it weren't for them.
        var heldBack: [(version: Identifier, blobs: [Identifier])] = []
        /// Those who wait until nothing is being unlinked.
        var settlers: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    func beginWriting(_ blob: Identifier) { state.withLock { _ = $0.written.insert(blob) } }

    /// Once its record is committed, or its file gone.
    func endWriting(_ blob: Identifier) { state.withLock { _ = $0.written.remove(blob) } }

    /// Whether a sweep has to leave the blob alone. Ask before reading the index: what is free at that
    /// moment and missing from the index afterwards is an orphan.
    func isHeld(_ blob: Identifier) -> Bool {
        state.withLock { state in
            state.holdCount > 0 || state.written.contains(blob) || state.deferred.values.contains { $0.contains(blob) }
        }
    }

    /// Holds the version's blobs until `unpin`; false when they are going already.
    func pin(_ version: Identifier) -> Bool {
        state.withLock { state in
            guard !state.doomed.contains(version) else { return false }
            state.pins[version, default: 0] += 1
            return true
        }
    }

    /// Returns the blobs to unlink now; the caller says `endUnlinking` afterwards.
    func unpin(_ version: Identifier) -> [Identifier] {
        state.withLock { state in
            let left = (state.pins[version] ?? 1) - 1
            state.pins[version] = left > 0 ? left : nil
            guard left <= 0, let blobs = state.deferred.removeValue(forKey: version) else { return [] }
            guard state.holdCount == 0 else {
                state.heldBack.append((version, blobs))
                return []
            }
            state.doomed.insert(version)
            return blobs
        }
    }

    /// Asks to unlink the blobs of a version that was replaced: all of them now, or none before its last
    /// reader left.
    func beginUnlinking(_ blobs: [Identifier], of version: Identifier) -> [Identifier] {
        state.withLock { state in
            guard state.pins[version] == nil else {
                state.deferred[version] = blobs
                return []
            }
            guard state.holdCount == 0 else {
                state.heldBack.append((version, blobs))
                return []
            }
            state.doomed.insert(version)
            return blobs
        }
    }

    /// Unlinks nothing more until `release`.
    func hold() { state.withLock { $0.holdCount += 1 } }

    /// Returns what has to be unlinked now, by version; the caller says `endUnlinking` after each.
    func release() -> [(version: Identifier, blobs: [Identifier])] {
        state.withLock { state in
            state.holdCount -= 1
            guard state.holdCount == 0 else { return [] }
            defer { state.heldBack = [] }
            for (version, _) in state.heldBack { state.doomed.insert(version) }
            return state.heldBack
        }
    }

    func endUnlinking(_ version: Identifier) {
        let settlers = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.doomed.remove(version)
            guard state.doomed.isEmpty else { return [] }
            defer { state.settlers = [] }
            return state.settlers
        }
        for settler in settlers { settler.resume() }
    }

    /// Returns when nothing is being unlinked.
    func settle() async {
        await withCheckedContinuation { continuation in
            let isSettled = state.withLock { state in
                if !state.doomed.isEmpty { state.settlers.append(continuation) }
                return state.doomed.isEmpty
            }
            if isSettled { continuation.resume() }
        }
    }
}
