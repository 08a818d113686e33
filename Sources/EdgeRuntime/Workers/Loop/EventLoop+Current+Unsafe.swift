internal import Glibc

extension EventLoop {
    /// The loop that runs on this thread.
    static var current: EventLoop? {
        guard let pointer = unsafe pthread_getspecific(key) else { return nil }
        // SAFETY: set for the time of `run`, during which the loop is alive.
        return unsafe Unmanaged<EventLoop>.fromOpaque(pointer).takeUnretainedValue()
    }

    func makeCurrent() { unsafe pthread_setspecific(Self.key, Unmanaged.passUnretained(self).toOpaque()) }
    func resignCurrent() { pthread_setspecific(Self.key, nil) }

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        // SAFETY: fills the key whose address it is given.
        let result = unsafe pthread_key_create(&key, nil)
        precondition(result == 0, "a process that has no thread-specific key left cannot run")
        return key
    }()
}
