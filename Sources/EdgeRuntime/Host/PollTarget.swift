internal import System

/// Something with a descriptor that a reactor watches. Reactor thread only.
class PollTarget {
    /// Its place in the reactor's table, with the generation that makes a stale event recognisable.
    final var token: UInt64 = 0

    /// The descriptor is ready for `events`. Errors and hang-ups count as readable: reading tells.
    func becameReady(_ events: Epoll.Interest) {}

    /// Looks at deadlines, a few times a second.
    func tick(_ now: Instant) {}

    /// Says what it has of a release that ends, and ends what has been going on for too long.
    func drain(_ look: DrainLook) {}
}
