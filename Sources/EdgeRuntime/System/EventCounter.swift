internal import CLinux
internal import Glibc

/// An eventfd: any thread signals, one thread waits or watches it with epoll.
package final class EventCounter: Sendable {
    private let descriptor: Descriptor

    package init() {
        let number = edge_eventfd()
        precondition(number >= 0, "a process that has no descriptor left at start cannot run")
        descriptor = Descriptor(owning: number)
    }

    package var rawValue: Int32 { descriptor.rawValue }

    package func signal() { _ = eventfd_write(descriptor.rawValue, 1) }

    /// Also signals whenever the process gets the signal `number`, on whichever thread, in place of what that
    /// did before.
    ///
    /// - Note: One counter per signal; it must live as long as the process.
    package func countProcessSignal(_ number: Int32) { _ = edge_count_signal(number, descriptor.rawValue) }

    /// Takes all signals; never blocks.
    package func clear() {
        var value: UInt64 = 0
        // SAFETY: eventfd_read fills the integer whose address it is given.
        _ = unsafe eventfd_read(descriptor.rawValue, &value)
    }

    /// Blocks until there are signals, and takes them.
    ///
    /// - Returns: how many, at least one.
    package func take() -> UInt64 {
        var value: UInt64 = 0
        // SAFETY: eventfd_read fills the integer whose address it is given, poll the one element it is told about.
        while unsafe eventfd_read(descriptor.rawValue, &value) != 0 {
            var item = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
            _ = unsafe poll(&item, 1, -1)
        }
        return value
    }

    /// Blocks until a signal or the time-out, then clears.
    package func wait(upTo duration: Duration) {
        var item = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        let milliseconds = min(Int64(Int32.max), (duration.wholeNanoseconds + 999_999) / 1_000_000)
        // SAFETY: poll reads and writes the one element it is told about.
        _ = unsafe poll(&item, 1, Int32(milliseconds))
        clear()
    }
}
