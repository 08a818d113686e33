internal import Glibc
internal import Synchronization
internal import System

/// One request on its way and its response, shared by the task that uses it and the engine's thread.
///
/// One task reads, one sends. Dropping it without reading to the end is done with `cancel`.
package final class CurlTransfer: Sendable {
    /// What waits for the reader before the peer is made to wait.
    static let receivedBytesMax = 256 << 10
    static let waitingUploadBytesMax = 128 << 10
    /// The product's limit for the headers of a response.
    static let headBytesMax = 128 << 10

    private typealias HeadWaiter = CheckedContinuation<Result<CurlHead, CurlError>, Never>
    private typealias BodyWaiter = CheckedContinuation<Result<[UInt8]?, CurlError>, Never>
    private typealias UploadWaiter = CheckedContinuation<Result<Void, CurlError>, Never>

    private enum Phase {
        case connecting
        case waitingForHead
        case receivingBody
        /// `nil`: the whole response is there.
        case ended(CurlError?)
    }

    private struct State {
        var phase = Phase.connecting
        /// When something last moved, by the node's clock.
        var lastActivity: Instant
        var timer: ClockTimer?
        var refused: PeerAddress?
        var abortReason: CurlError?

        var head: CurlHead?
        /// The lines of the head that is being received, which may turn out to be an interim one.
        var partialHead: CurlHead?
        var headByteCount = 0
        var headWaiter: HeadWaiter?

        var received: [[UInt8]] = []
        var receivedByteCount = 0
        var isReceivingPaused = false
        var bodyWaiter: BodyWaiter?

        var upload: [[UInt8]] = []
        /// Of the first piece in `upload`.
        var uploadOffset = 0
        var waitingUploadByteCount = 0
        var uploadedByteCount: Int64 = 0
        var hasUploadEnded: Bool
        var isSendingPaused = false
        var uploadWaiter: UploadWaiter?
        var observers: [@Sendable () -> Void] = []
    }

    let request: CurlRequest
    private let clock: any NodeClock
    private let engine: CurlCommands
    private let state: Mutex<State>

    init(_ request: CurlRequest, clock: any NodeClock, engine: CurlCommands) {
        self.request = request
        self.clock = clock
        self.engine = engine
        var state = State(lastActivity: clock.now(), hasUploadEnded: true)
        switch request.body {
        case .none: break
        case .bytes(let bytes): if !bytes.isEmpty { state.upload = [bytes] }
        case .streamed: state.hasUploadEnded = false
        }
        self.state = Mutex(state)
        watch(until: clock.now() + request.timeouts.connect)
    }

    // MARK: For the task

    /// Waits for the head of the response; interim ones (1xx) are skipped.
    package func head() async throws(CurlError) -> CurlHead {
        let result: Result<CurlHead, CurlError> = await withCheckedContinuation { waiter in
            let ready = state.withLock { state -> Result<CurlHead, CurlError>? in
                if let head = state.head { return .success(head) }
                if case .ended(let error) = state.phase { return .failure(error ?? .closed) }
                state.headWaiter = waiter
                return nil
            }
            if let ready { waiter.resume(returning: ready) }
        }
        return try result.get()
    }

    /// The next piece of the response's body; `nil` at the end.
    package func next() async throws(CurlError) -> [UInt8]? {
        let result: Result<[UInt8]?, CurlError> = await withCheckedContinuation { waiter in
            let (ready, mustResume) = state.withLock { state -> (Result<[UInt8]?, CurlError>?, Bool) in
                if !state.received.isEmpty {
                    let piece = state.received.removeFirst()
                    state.receivedByteCount -= piece.count
                    let mustResume =
                        state.isReceivingPaused && state.receivedByteCount <= Self.receivedBytesMax / 2
                    if mustResume {
                        state.isReceivingPaused = false
                        state.lastActivity = clock.now()
                    }
                    return (.success(piece), mustResume)
                }
                if case .ended(let error) = state.phase {
                    return (error.map { .failure($0) } ?? .success(nil), false)
                }
                state.bodyWaiter = waiter
                return (nil, false)
            }
            if mustResume { engine.update(self) }
            if let ready { waiter.resume(returning: ready) }
        }
        return try result.get()
    }

    /// Takes the next piece of the request's body; returns when there is room for one more.
    package func send(_ piece: [UInt8]) async throws(CurlError) {
        guard !piece.isEmpty else { return }
        let result: Result<Void, CurlError> = await withCheckedContinuation { waiter in
            let (ready, mustResume) = state.withLock { state -> (Result<Void, CurlError>?, Bool) in
                if case .ended(let error) = state.phase { return (.failure(error ?? .closed), false) }
                state.upload.append(piece)
                state.waitingUploadByteCount += piece.count
                let mustResume = state.isSendingPaused
                state.isSendingPaused = false
                if state.waitingUploadByteCount < Self.waitingUploadBytesMax {
                    return (.success(()), mustResume)
                }
                state.uploadWaiter = waiter
                return (nil, mustResume)
            }
            if mustResume { engine.update(self) }
            if let ready { waiter.resume(returning: ready) }
        }
        try result.get()
    }

    /// The request's body is complete.
    package func endUpload() {
        let mustResume = state.withLock { state in
            state.hasUploadEnded = true
            defer { state.isSendingPaused = false }
            return state.isSendingPaused
        }
        if mustResume { engine.update(self) }
    }

    /// Ends the transfer from this side, for the reason given; one that has ended stays as it is.
    package func cancel(_ reason: CurlError = .cancelled) {
        let isLive = state.withLock { state in
            if case .ended = state.phase { return false }
            if state.abortReason == nil { state.abortReason = reason }
            return true
        }
        if isLive { engine.cancel(self) }
    }

    /// Calls `observer` once, when the transfer has ended; at once when it has already.
    package func onEnd(_ observer: @escaping @Sendable () -> Void) {
        let hasEnded = state.withLock { state in
            if case .ended = state.phase { return true }
            state.observers.append(observer)
            return false
        }
        if hasEnded { observer() }
    }

    // MARK: For the engine's thread

    enum Intake { case taken, pause, abort }

    /// Which directions stand still.
    var paused: (receiving: Bool, sending: Bool) {
        state.withLock { ($0.isReceivingPaused, $0.isSendingPaused) }
    }

    func mayConnect(to address: PeerAddress) -> Bool {
        if request.mayConnect(address) { return true }
        state.withLock { $0.refused = address }
        return false
    }

    /// A connection stands and the request will be written.
    func willSend() {
        state.withLock { state in
            state.lastActivity = clock.now()
            if case .connecting = state.phase { state.phase = .waitingForHead }
        }
    }

    func receive(headerLine line: UnsafeRawBufferPointer) -> Intake {
        let (intake, waiter, head) = state.withLock {
            state -> (Intake, HeadWaiter?, CurlHead?) in
            state.lastActivity = clock.now()
            guard state.head == nil else { return (.taken, nil, nil) }  // A trailer.
            state.headByteCount += line.count
            guard state.headByteCount <= Self.headBytesMax else {
                state.abortReason = .headTooLarge(limit: Self.headBytesMax)
                return (.abort, nil, nil)
            }
            guard let head = unsafe Self.read(line, into: &state.partialHead), head.status >= 200 else {
                return (.taken, nil, nil)
            }
            state.head = head
            state.phase = .receivingBody
            defer { state.headWaiter = nil }
            return (.taken, state.headWaiter, head)
        }
        if let head { waiter?.resume(returning: .success(head)) }
        return intake
    }

    func receive(body bytes: UnsafeRawBufferPointer) -> Intake {
        let (intake, waiter) = state.withLock { state -> (Intake, BodyWaiter?) in
            state.lastActivity = clock.now()
            if let waiter = state.bodyWaiter {
                state.bodyWaiter = nil
                return (.taken, waiter)
            }
            guard state.receivedByteCount < Self.receivedBytesMax else {
                state.isReceivingPaused = true
                return (.pause, nil)
            }
            // SAFETY: copied before the callback returns.
            state.received.append(unsafe Array(bytes))
            state.receivedByteCount += bytes.count
            return (.taken, nil)
        }
        waiter?.resume(returning: .success(unsafe Array(bytes)))
        return intake
    }

    /// Fills `buffer` with bytes of the request's body; zero is its end, `nil` means that none are here
    /// yet.
    ///
    /// - Throws: when fewer bytes came than were declared.
    func upload(into buffer: UnsafeMutableRawBufferPointer) throws(CurlError) -> Int? {
        let result = state.withLock { state -> (Result<Int?, CurlError>, UploadWaiter?) in
            guard let piece = state.upload.first else {
                guard state.hasUploadEnded else {
                    state.isSendingPaused = true
                    return (.success(nil), nil)
                }
                if case .streamed(let length?) = request.body, length != state.uploadedByteCount {
                    state.abortReason = .uploadIncomplete
                    return (.failure(.uploadIncomplete), nil)
                }
                return (.success(0), nil)
            }
            let count = min(buffer.count, piece.count - state.uploadOffset)
            unsafe piece.withUnsafeBytes { bytes in
                // SAFETY: both hold at least `count` bytes there.
                unsafe buffer.copyMemory(
                    from: UnsafeRawBufferPointer(
                        rebasing: bytes[state.uploadOffset..<(state.uploadOffset + count)]))
            }
            state.lastActivity = clock.now()
            state.uploadedByteCount += Int64(count)
            state.waitingUploadByteCount -= count
            state.uploadOffset += count
            if state.uploadOffset == piece.count {
                state.upload.removeFirst()
                state.uploadOffset = 0
            }
            guard state.waitingUploadByteCount < Self.waitingUploadBytesMax else {
                return (.success(count), nil)
            }
            defer { state.uploadWaiter = nil }
            return (.success(count), state.uploadWaiter)
        }
        result.1?.resume(returning: .success(()))
        return try result.0.get()
    }

    /// Begins the body anew, on another connection; false when its beginning is gone.
    func rewind() -> Bool {
        state.withLock { state in
            switch request.body {
            case .none: break
            case .bytes(let bytes):
                state.upload = bytes.isEmpty ? [] : [bytes]
                state.uploadOffset = 0
                state.waitingUploadByteCount = 0
                state.uploadedByteCount = 0
            case .streamed: return state.uploadedByteCount == 0
            }
            return true
        }
    }

    /// The transfer is over; `failure` is what libcurl says, unless there is a better reason.
    func end(_ failure: CurlError?) {
        let ended = state.withLock { state -> State? in
            if case .ended = state.phase { return nil }
            var error = failure
            if error != nil, let reason = state.abortReason ?? state.refused.map(CurlError.refused) {
                error = reason
            }
            if error == nil, state.head == nil { error = .closed }
            let before = state
            state.phase = .ended(error)
            state.timer = nil
            state.headWaiter = nil
            state.bodyWaiter = nil
            state.uploadWaiter = nil
            state.upload = []
            state.observers = []
            return before
        }
        guard let ended, case .ended(let error) = state.withLock({ $0.phase }) else { return }
        ended.timer?.cancel()
        ended.headWaiter?.resume(returning: .failure(error ?? .closed))
        ended.bodyWaiter?.resume(returning: error.map { .failure($0) } ?? .success(nil))
        ended.uploadWaiter?.resume(returning: .failure(error ?? .closed))
        for observer in ended.observers { observer() }
    }

    // MARK: Time

    /// Looks at `deadline` whether anything moved since; one timer at a time, moved along lazily.
    private func watch(until deadline: Instant) {
        let timer = clock.schedule(at: deadline) { [weak self] in self?.checkTime() }
        let hasEnded = state.withLock { state in
            if case .ended = state.phase { return true }
            state.timer = timer
            return false
        }
        if hasEnded { timer.cancel() }
    }

    private func checkTime() {
        let now = clock.now()
        let (next, expired) = state.withLock { state -> (Instant?, CurlError.Phase?) in
            let (limit, phase): (Duration, CurlError.Phase)
            switch state.phase {
            case .connecting: (limit, phase) = (request.timeouts.connect, .connect)
            case .waitingForHead: (limit, phase) = (request.timeouts.head, .head)
            case .receivingBody: (limit, phase) = (request.timeouts.idle, .idle)
            case .ended: return (nil, nil)
            }
            // Whoever makes the other side wait has no claim to its haste.
            if state.isReceivingPaused || state.isSendingPaused { return (now + limit, nil) }
            let deadline = state.lastActivity + limit
            return deadline > now ? (deadline, nil) : (nil, phase)
        }
        if let next { watch(until: next) }
        if let expired { cancel(.timedOut(expired)) }
    }

    // MARK: Heads

    /// Adds a line to the head; returns it when it is complete.
    private static func read(_ line: UnsafeRawBufferPointer, into head: inout CurlHead?) -> CurlHead? {
        // SAFETY: the line is copied within this call.
        let bytes = unsafe Array(line)
        let text = bytes.suffix(while: { $0 == 13 || $0 == 10 })
        if bytes.starts(with: "HTTP/".utf8) {
            // libcurl has parsed the status line; all that is needed here is its number.
            let parts = text.split(separator: 32, maxSplits: 2)
            let number = parts.count > 1 ? Int(String(decoding: parts[1], as: UTF8.self)) : nil
            head = CurlHead(status: number ?? 0)
            return nil
        }
        if text.isEmpty {
            defer { head = nil }
            return head
        }
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let name = String(decoding: text[..<colon], as: UTF8.self).lowercased()
        let value = text[text.index(after: colon)...].drop { $0 == 32 || $0 == 9 }
        head?.headers.append((name, String(validating: value, as: UTF8.self) ?? latin(value)))
        return nil
    }

    private static func latin(_ bytes: ArraySlice<UInt8>) -> String {
        String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
    }
}

extension [UInt8] {
    /// Without the bytes at the end for which `isDropped` holds.
    fileprivate func suffix(while isDropped: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        var end = endIndex
        while end > startIndex, isDropped(self[end - 1]) { end -= 1 }
        return self[..<end]
    }
}
