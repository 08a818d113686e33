/// What an object's storage needs of the isolate that it is in. All calls come from the loop's thread; the storage
/// keeps it alive.
package protocol ObjectTurns: AnyObject {
    /// Calls `body` when the code that runs now awaits something that isn't there yet, or has ended: the end of a turn, until
    /// when writes are one transaction.
    func atEndOfTurn(_ body: @escaping () -> Void)
    /// Milliseconds since 1970, by the node's clock.
    var now: Int64 { get }
    /// Makes what was written to the file durable, and the folder's list of files if `folder` names it, on a helper thread, and
    /// says on the loop's when it is. One call at a time for each object.
    func makeDurable(_ descriptor: Int32, folder: String?, _ completion: @escaping ((any Error)?) -> Void)
    /// The object's storage is beyond repair in this incarnation: it is to be reset.
    func reset(_ error: DurableObjectError)

    /// What leaves the object from now on waits until commit `number` is durable; and that it is. Commits are numbered from 1.
    func holdOutput(until number: UInt64)
    func commitIsDurable(_ number: UInt64)

    /// Waits for storage while nothing else of the object runs. `start` is given what ends the waiting.
    func locked(_ start: (@escaping ((any Error)?) -> Void) -> Void) async throws
    /// Runs `body`, and nothing else of the object until it is over.
    func criticalSection(_ body: @escaping () async throws -> Void) async throws

    /// Moves the alarm in the node's index; says when the index is durable.
    func moveAlarm(to time: Int64?, _ completion: @escaping ((any Error)?) -> Void)
    /// Tells the tenant of what went wrong and fails nothing.
    func warn(_ text: String)
    /// Calls `body` after a while, unless what is returned is called before.
    func after(_ delay: Duration, _ body: @escaping () -> Void) -> () -> Void
}
