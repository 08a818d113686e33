internal import Stores
internal import Synchronization

/// A body that is stored while somebody reads it.
///
/// A reader that leaves early doesn't cost those who wait for the same response: a moderate rest is still taken.
final class FillingSource: BodySource {
    private struct State {
        var isReading = false
        var isCancelled = false
    }
    private let source: any BodySource
    private let fill: any CacheFilling
    private let state = Mutex(State())

    private static let restBytesMax = 8 << 20

    init(_ source: any BodySource, _ fill: any CacheFilling) {
        self.source = source
        self.fill = fill
    }

    func next() async throws -> [UInt8]? {
        state.withLock { $0.isReading = true }
        do {
            let piece = try await take()
            let mustDrain = state.withLock { state in
                state.isReading = false
                return state.isCancelled
            }
            if mustDrain, piece != nil { startDraining() }
            return piece
        } catch {
            state.withLock { $0.isReading = false }
            fill.abort()
            throw error
        }
    }

    func cancel() {
        let mustDrain = state.withLock { state in
            defer { state.isCancelled = true }
            return !state.isReading && !state.isCancelled
        }
        if mustDrain { startDraining() }
    }

    private func take() async throws -> [UInt8]? {
        guard let piece = try await source.next() else {
            await fill.commit()
            return nil
        }
        // A reader that knows the length has all of it with this piece, and may ask again at once.
        if await fill.append(piece) { await fill.commit() }
        return piece
    }

    /// Nobody waits for this task: it ends with the source, or at its limit.
    private func startDraining() {
        Task {
            var left = Self.restBytesMax
            do {
                while left > 0, let piece = try await take() { left -= piece.count }
            } catch { left = 0 }
            guard left <= 0 else { return }
            fill.abort()
            source.cancel()
        }
    }
}
