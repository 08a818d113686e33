package import System

/// One alarm of a durable object, as the node's index has it. The object's own row is the truth of its time; this is never later.
package struct ObjectAlarm: Equatable, Sendable {
    /// 32 bytes.
    package var object: [UInt8]
    /// What the object's id was made from, if that is known.
    package var name: String?
    /// 32 hexadecimal digits.
    package var namespace: String
    /// When the node is to look.
    package var time: UnixTime
    /// What `setAlarm` asked for.
    package var scheduledTime: UnixTime
    /// Counted tries that have failed.
    package var retryCount: Int
    /// Whether a try of any kind has failed.
    package var isRetry: Bool
    /// Of the next delay: 2 s × 2ⁿ.
    package var backoff: Int

    package init(
        object: [UInt8], name: String?, namespace: String, time: UnixTime, scheduledTime: UnixTime, retryCount: Int = 0,
        isRetry: Bool = false, backoff: Int = 0
    ) {
        self.object = object
        self.name = name
        self.namespace = namespace
        self.time = time
        self.scheduledTime = scheduledTime
        self.retryCount = retryCount
        self.isRetry = isRetry
        self.backoff = backoff
    }
}

/// Which objects are to be woken, and when: one alarm per object. What a method that changes something has returned from is durable.
package protocol ObjectAlarmIndex: AnyObject, Sendable {
    /// The first ones by time, at most `max`, none later than `time`.
    func due(at time: UnixTime, max: Int) throws -> [ObjectAlarm]
    /// The time of the first one.
    func firstTime() throws -> UnixTime?
    func alarm(of object: [UInt8]) throws -> ObjectAlarm?
    /// Replaces the object's alarm.
    func set(_ alarm: ObjectAlarm) async throws
    func remove(_ object: [UInt8]) async throws
    /// Puts `new`, or nothing, in the place of `old`, unless that has been changed meanwhile.
    func replace(_ old: ObjectAlarm, by new: ObjectAlarm?) async throws
    /// It isn't complete for the namespace afterwards.
    func removeAll(of namespace: String) async throws
    /// False when the index was lost, or was left before it had all alarms of the namespace: they are to be asked of the objects then.
    func isComplete(for namespace: String) -> Bool
    func noteComplete(for namespace: String) async throws
    func close() async
}
