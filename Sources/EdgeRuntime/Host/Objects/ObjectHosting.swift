internal import Interfaces
internal import Synchronization
internal import Wire

/// Who gives objects to the isolates of a pool. Safe on any thread.
protocol ObjectHosting: AnyObject, Sendable {
    /// Every reactor has its channel.
    func isolateIsReady(_ isolate: Isolate)
    /// It is to end: `IsolatePool.finishRetiring` once it has no objects.
    func isolateMustEmpty(_ isolate: Isolate)
    /// Its process is gone; reactors have been told before.
    func isolateExited(_ isolate: Isolate)
    /// None of the isolates that were asked for will come.
    func isolatesRefused(of pool: IsolatePool)
    func objectCount(of isolate: Isolate) -> Int
    /// Takes what an isolate says one way. Reactor thread only.
    func received(_ kind: CallKind, _ message: [UInt8], from isolate: Isolate, on reactor: Reactor) throws(WireError)
    /// Answers `call` when the alarm's new time is durable. Reactor thread only.
    func moveAlarm(_ message: ObjectAlarmTimeMessage, from isolate: Isolate, for call: CallStream)
}

/// Tells the last of several that it is the last.
final class Countdown: Sendable {
    private let left: Atomic<Int>
    init(_ count: Int) { left = Atomic(count) }
    func isLast() -> Bool { left.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
}
