internal import CLinux
internal import Glibc

/// One epoll instance. Registrations carry a 64-bit token that comes back with each event.
@safe package struct Epoll: ~Copyable {
    package struct Interest: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let read = Interest(rawValue: EDGE_EPOLLIN)
        package static let write = Interest(rawValue: EDGE_EPOLLOUT)
        package static let peerClosed = Interest(rawValue: EDGE_EPOLLRDHUP)
        package static let edgeTriggered = Interest(rawValue: EDGE_EPOLLET)

        /// Reading will tell: there are bytes, the end, or an error. (In place of set algebra, which is slow for a
        /// type of another module.)
        package var isReadable: Bool {
            rawValue & (EDGE_EPOLLIN | EDGE_EPOLLRDHUP | EDGE_EPOLLERR | EDGE_EPOLLHUP) != 0
        }
        /// There was an error, or both directions have ended. Reported whether it was asked for or not.
        package var isFailure: Bool { rawValue & (EDGE_EPOLLERR | EDGE_EPOLLHUP) != 0 }
        package var isWritable: Bool { rawValue & EDGE_EPOLLOUT != 0 }
    }

    package struct Event: Sendable {
        package let token: UInt64
        package let ready: Interest
    }

    private let descriptor: Descriptor
    /// Filled by the kernel in `wait`; owned here.
    private let events: UnsafeMutablePointer<epoll_event>
    private let eventsMax: Int32

    /// - Parameter eventsMax: How many events one `wait` returns at most.
    package init(eventsMax: Int = 512) throws(SystemError) {
        let number = edge_epoll_create()
        guard number >= 0 else { throw SystemError("epoll_create1", errno: errno) }
        descriptor = Descriptor(owning: number)
        self.eventsMax = Int32(eventsMax)
        unsafe events = .allocate(capacity: eventsMax)
        unsafe events.initialize(repeating: epoll_event(), count: eventsMax)
    }

    deinit { unsafe events.deallocate() }

    package func register(_ fd: Int32, _ interest: Interest, token: UInt64) throws(SystemError) {
        try control(EDGE_EPOLL_ADD, fd, interest, token)
    }

    package func change(_ fd: Int32, _ interest: Interest, token: UInt64) throws(SystemError) {
        try control(EDGE_EPOLL_MOD, fd, interest, token)
    }

    /// Deregister before closing: a duplicate held elsewhere would keep the registration alive, and
    /// epoll would go on reporting it (epoll(7)).
    package func deregister(_ fd: Int32) {
        _ = edge_epoll_control(descriptor.rawValue, EDGE_EPOLL_DEL, fd, 0, 0)
    }

    /// Waits for events up to `milliseconds` (−1: without end) and passes each to `body`, which may register,
    /// change and deregister at will.
    @inline(__always)
    package func wait(milliseconds: Int32, _ body: (Event) -> Void) {
        // SAFETY: the kernel writes at most `eventsMax` elements, which is what was allocated.
        let count = unsafe epoll_wait(descriptor.rawValue, events, eventsMax, milliseconds)
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let event = unsafe events + index
            body(
                unsafe Event(
                    token: edge_epoll_token(event), ready: Interest(rawValue: edge_epoll_events(event))))
        }
    }

    private func control(
        _ operation: Int32, _ fd: Int32, _ interest: Interest, _ token: UInt64
    ) throws(SystemError) {
        guard edge_epoll_control(descriptor.rawValue, operation, fd, interest.rawValue, token) == 0 else {
            throw SystemError("epoll_ctl", errno: errno, on: "fd \(fd)")
        }
    }
}
