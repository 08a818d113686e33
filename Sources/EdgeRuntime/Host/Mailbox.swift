internal import Synchronization
internal import System

/// What other threads leave for a reactor: closures and resumed jobs. Any thread puts, the reactor takes all at once.
final class Mailbox: Sendable {
    enum Message: Sendable {
        case run(@Sendable () -> Void)
        case job(UnownedJob)
    }
    private struct State {
        var messages: [Message] = []
        /// Whether a wake-up is on its way already.
        var isSignalled = false
    }
    private let state = Mutex(State())
    let wakeup = EventCounter()

    func put(_ message: Message) {
        let mustSignal = state.withLock { state in
            state.messages.append(message)
            defer { state.isSignalled = true }
            return !state.isSignalled
        }
        if mustSignal { wakeup.signal() }
    }

    /// Exchanges `messages`, which must be empty, for what has arrived.
    func take(into messages: inout [Message]) {
        state.withLock { state in
            state.isSignalled = false
            swap(&state.messages, &messages)
        }
    }
}
