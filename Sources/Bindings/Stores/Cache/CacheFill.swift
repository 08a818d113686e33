internal import Caching
internal import Glibc
internal import Observability
internal import Stores
internal import Synchronization
internal import System

/// One response on its way into the store.
final class CacheFill: CacheFilling {
    private struct State: ~Copyable {
        /// What is not in the file yet.
        var buffer: [UInt8] = []
        var file: Descriptor?
        var byteCount: Int64 = 0
        var isOver = false
    }
    private let state = Mutex(State())
    private let id: UInt64
    private let response: StoredResponse
    private let length: Int64?
    private let byteCountMax: Int64
    private let claim: CacheClaim?
    private let store: EmbeddedResponseCache

    init(
        _ id: UInt64, _ response: StoredResponse, length: Int64?, byteCountMax: Int64, claim: CacheClaim?,
        store: EmbeddedResponseCache
    ) {
        self.id = id
        self.response = response
        self.length = length
        self.byteCountMax = byteCountMax
        self.claim = claim
        self.store = store
    }

    deinit { abort() }

    @discardableResult
    func append(_ piece: [UInt8]) async -> Bool {
        enum Step { case done, write, tooLarge, over }
        let step: Step = state.withLock { state in
            guard !state.isOver else { return .over }
            state.byteCount += Int64(piece.count)
            guard state.byteCount <= byteCountMax else { return .tooLarge }
            state.buffer += piece
            return state.buffer.count > CacheFiles.inlineBytesMax ? .write : .done
        }
        switch step {
        case .done: break
        case .over: if !piece.isEmpty { store.retract(id) }
        case .tooLarge: abort()
        case .write:
            guard store.reserve(piece.count, for: id) else {
                abort()
                return false
            }
            do throws(SystemError) {
                try await store.pool.run { () throws(SystemError) in try self.spill() }
            } catch { fail(error) }
        }
        return state.withLock { [length] in !$0.isOver && $0.byteCount == length }
    }

    /// Writes what has gathered. One writer at a time, so nobody waits for the lock.
    private func spill() throws(SystemError) {
        try state.withLock { state throws(SystemError) in
            guard !state.isOver else { return }
            let bytes = state.buffer
            state.buffer = []
            let file: Descriptor
            if let opened = state.file.take() { file = opened } else { file = try store.files.createBody(id) }
            try store.files.write(bytes, to: file)
            state.file = consume file
        }
    }

    @discardableResult
    func commit() async -> Bool {
        let isComplete = state.withLock { !$0.isOver && (length.map { [count = $0.byteCount] in $0 == count } ?? true) }
        guard isComplete else {
            abort()
            return false
        }
        do throws(SystemError) {
            let isKept = try await store.pool.run { () throws(SystemError) in try self.publish() }
            claim?.end()
            return isKept
        } catch {
            fail(error)
            return false
        }
    }

    private func publish() throws(SystemError) -> Bool {
        if state.withLock({ $0.file != nil }) { try spill() }
        let (inline, byteCount, isOver) = state.withLock { state -> ([UInt8]?, Int64, Bool) in
            let hasFile = state.file != nil
            state.file = nil
            defer { state.isOver = true }
            return (hasFile ? nil : state.buffer, state.byteCount, state.isOver)
        }
        guard !isOver else { return false }
        var response = response
        response.bodyByteCount = byteCount
        do throws(SystemError) {
            if inline == nil { try store.files.publishBody(id) }
            try store.files.publishEntry(id, response, inline: inline)
        } catch {
            store.files.remove(id)
            store.endFill(id)
            throw error
        }
        return store.insert(id, response, inlineByteCount: inline?.count)
    }

    func abort() {
        let isFirst = state.withLock { state in
            defer {
                state.isOver = true
                state.file = nil
                state.buffer = []
            }
            return !state.isOver
        }
        if isFirst { store.endFill(id) }
        claim?.end()
    }

    private func fail(_ error: SystemError) {
        store.logger.log(.warning, "a response can't be cached: \(error)")
        if error.errno == ENOSPC || error.errno == EDQUOT { store.giveWay() }
        abort()
    }
}
