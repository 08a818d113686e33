internal import CLinux
internal import Glibc

/// A long-lived POSIX thread. Dispatch is not used for them: reactors and spawners must keep one kernel
/// thread for life (`PR_SET_PDEATHSIG` follows the thread that spawned).
package struct SystemThread: Sendable {
    private let name: String
    private let body: @Sendable () -> Void

    package init(name: String, _ body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }

    /// Starts a detached thread.
    package func start() {
        let box = unsafe Unmanaged.passRetained(Box(name: name, body: body))
        var attributes = pthread_attr_t()
        // SAFETY: the attribute object lives on this frame; the box is taken over by the new thread.
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let box = unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
                unsafe edge_name_thread(String(box.name.prefix(15)))
                box.body()
                return nil
            }, box.toOpaque())
        unsafe pthread_attr_destroy(&attributes)
        precondition(result == 0, "a node that cannot start its threads cannot run")
    }

    private final class Box {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
