internal import CLinux
internal import Glibc
internal import System

/// Decides when the watchdog looks next: often while events are open, now and then while they aren't,
/// never without isolates. A kernel timer rather than the node's clock, because CPU time passes on
/// virtual days as well.
struct TickPacer: ~Copyable {
    private enum Rhythm { case stopped, resting, busy }
    private let descriptor: Descriptor
    private let pace: Supervisor.Pace
    private let bell: WatchdogBell
    private var rhythm = Rhythm.stopped
    private var quietTicks: UInt32 = 0
    private var sinceLookAtAll: UInt32 = 0

    var timer: Int32 { descriptor.rawValue }

    init(pace: Supervisor.Pace, bell: WatchdogBell) throws(SystemError) {
        let number = edge_timer_create()
        guard number >= 0 else { throw SystemError("timerfd_create", errno: errno) }
        descriptor = Descriptor(owning: number)
        self.pace = pace
        self.bell = bell
    }

    /// Takes the timer's event. Returns whether all isolates are due, and the time since the last tick.
    mutating func tick() -> (lookAtAll: Bool, elapsedMilliseconds: Int) {
        var expirations: UInt64 = 0
        // SAFETY: reads eight bytes into the integer it is lent (timerfd_create(2)).
        _ = unsafe read(descriptor.rawValue, &expirations, 8)
        let elapsed = UInt32(clamping: max(1, expirations)) &* milliseconds
        sinceLookAtAll &+= elapsed
        guard sinceLookAtAll >= pace.restingMilliseconds else { return (false, Int(elapsed)) }
        sinceLookAtAll = 0
        return (true, Int(elapsed))
    }

    /// After a second without activity the timer slows down, and the next event that opens rings the
    /// bell.
    mutating func noteActivity(_ isActive: Bool) {
        if isActive {
            quietTicks = 0
            if rhythm == .resting { set(.busy) }
        } else if rhythm == .busy {
            quietTicks += 1
            if quietTicks &* pace.busyMilliseconds >= 1000 { set(.resting) }
        }
    }

    /// The bell has rung, or a request has come.
    mutating func wake() {
        guard rhythm == .resting else { return }
        set(.busy)
    }

    mutating func setPopulated(_ isPopulated: Bool) {
        if isPopulated, rhythm == .stopped { set(.busy) }
        if !isPopulated, rhythm != .stopped { set(.stopped) }
    }

    private var milliseconds: UInt32 {
        switch rhythm {
        case .stopped: 0
        case .resting: pace.restingMilliseconds
        case .busy: pace.busyMilliseconds
        }
    }

    private mutating func set(_ rhythm: Rhythm) {
        self.rhythm = rhythm
        quietTicks = 0
        _ = edge_timer_set(descriptor.rawValue, milliseconds)
        // An event that opened just before the bell was set is seen at the next slow tick.
        if rhythm == .busy { bell.wake() } else { bell.rest() }
    }
}
