internal import Synchronization
internal import System

/// Which events are open on one channel of an isolate. The channel's reactor writes it, the watchdog
/// reads it.
///
/// Each event gets its CPU limit, so as long as an event is open the process may have used at most the
/// limits of all events that were open in the meantime. That needs the oldest open event and a count,
/// nothing per event: opening and closing are a few stores, in constant time, whatever is open.
///
/// `open` and `close` belong to one thread (the reactor of the channel); the readings are for any.
package final class EventLedger: @unchecked Sendable {
    /// Which CPU limit of `IsolateLimits` an event has.
    package enum Allowance: Sendable { case standard, extended, startUp }

    /// Returned by `open`; to be given to `close` exactly once.
    package struct Entry: Sendable, Equatable {
        fileprivate let slot: UInt32
    }

    package struct Reading: Equatable, Sendable {
        /// Stream of the event that is open for the longest time, 0: none. Streams are never numbered
        /// twice.
        package var oldestStream: UInt32
        package var openCount: Int
        package var extendedCount: Int
        /// Whether the isolate is still being configured.
        package var isStartingUp: Bool
        /// Events opened since the isolate started.
        package var openedTotal: UInt64

        package init(
            oldestStream: UInt32 = 0, openCount: Int = 0, extendedCount: Int = 0, isStartingUp: Bool = false,
            openedTotal: UInt64 = 0
        ) {
            self.oldestStream = oldestStream
            self.openCount = openCount
            self.extendedCount = extendedCount
            self.isStartingUp = isStartingUp
            self.openedTotal = openedTotal
        }
    }

    private struct Slot {
        var stream: UInt32 = 0
        var next: UInt32 = 0
        var previous: UInt32 = 0
        var allowance = Allowance.standard
    }

    /// A list in the order of opening, through an array. Slot 0 is its head; freed slots form a list of
    /// their own.
    private var slots = [Slot()]
    private var firstFree: UInt32 = 0
    private var extendedCount = 0
    private var openedTotal: UInt64 = 0
    private var openCount = 0

    /// Published: oldest stream in the upper half, number of open events in the lower.
    private let oldestAndCount = Atomic<UInt64>(0)
    private let extended = Atomic<Int>(0)
    private let startUp = Atomic<Bool>(false)
    private let opened = Atomic<UInt64>(0)
    private let bell: WatchdogBell

    init(bell: WatchdogBell) { self.bell = bell }

    /// A ledger that no watchdog reads.
    package convenience init() { self.init(bell: WatchdogBell()) }

    /// Notes that the event on `stream` (not 0) begins.
    package func open(stream: UInt32, _ allowance: Allowance = .standard) -> Entry {
        let slot = takeSlot()
        let last = slots[0].previous
        slots[Int(slot)] = Slot(stream: stream, next: 0, previous: last, allowance: allowance)
        slots[Int(last)].next = slot
        slots[0].previous = slot
        openCount += 1
        openedTotal &+= 1
        if allowance == .extended {
            extendedCount += 1
            extended.store(extendedCount, ordering: .relaxed)
        }
        if allowance == .startUp { startUp.store(true, ordering: .relaxed) }
        publish()
        opened.store(openedTotal, ordering: .releasing)
        bell.ringIfResting()
        return Entry(slot: slot)
    }

    /// Notes that the event, with all its `waitUntil` work, is over.
    package func close(_ entry: Entry) {
        let slot = entry.slot
        let closed = slots[Int(slot)]
        precondition(slot != 0 && closed.stream != 0, "an entry is closed once")
        slots[Int(closed.previous)].next = closed.next
        slots[Int(closed.next)].previous = closed.previous
        slots[Int(slot)] = Slot(next: firstFree)
        firstFree = slot
        openCount -= 1
        if closed.allowance == .startUp { startUp.store(false, ordering: .relaxed) }
        if closed.allowance == .extended {
            extendedCount -= 1
            extended.store(extendedCount, ordering: .relaxed)
        }
        publish()
    }

    package func read() -> Reading {
        // The total first: an event that opens in between is then counted as open and as opened later,
        // never as neither.
        let openedTotal = opened.load(ordering: .acquiring)
        let packed = oldestAndCount.load(ordering: .acquiring)
        return Reading(
            oldestStream: UInt32(packed >> 32), openCount: Int(packed & 0xffff_ffff),
            extendedCount: extended.load(ordering: .relaxed), isStartingUp: startUp.load(ordering: .relaxed),
            openedTotal: openedTotal)
    }

    private func publish() {
        let oldest = slots[Int(slots[0].next)].stream
        oldestAndCount.store(UInt64(oldest) << 32 | UInt64(openCount), ordering: .releasing)
    }

    private func takeSlot() -> UInt32 {
        guard firstFree == 0 else {
            let slot = firstFree
            firstFree = slots[Int(slot)].next
            return slot
        }
        slots.append(Slot())
        return UInt32(slots.count - 1)
    }
}

/// Wakes the watchdog when it rests and something begins. Costs one relaxed load while it doesn't rest.
final class WatchdogBell: Sendable {
    let wakeup = EventCounter()
    private let isResting = Atomic<Bool>(false)

    func ringIfResting() {
        guard isResting.load(ordering: .relaxed) else { return }
        if isResting.exchange(false, ordering: .acquiringAndReleasing) { wakeup.signal() }
    }

    func rest() { isResting.store(true, ordering: .sequentiallyConsistent) }
    func wake() { isResting.store(false, ordering: .sequentiallyConsistent) }
}
