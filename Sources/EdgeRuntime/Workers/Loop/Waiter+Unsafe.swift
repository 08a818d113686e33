/// One suspended task of the loop. Whoever holds it wakes it exactly once; the holders are the fields of an endpoint,
/// which clear the field as they wake.
@safe struct Waiter {
    private let continuation: UnsafeContinuation<Void, Never>

    /// Suspends the current task and hands it to `keep`, on the same thread and at once.
    static func suspend(_ keep: (Waiter) -> Void) async {
        // SAFETY: the rule above takes the place of the checks of a checked continuation.
        await unsafe withUnsafeContinuation { continuation in
            keep(unsafe Waiter(continuation: continuation))
        }
    }

    private init(continuation: UnsafeContinuation<Void, Never>) { unsafe self.continuation = continuation }

    func wake() { unsafe continuation.resume() }
}
