/// What an object's storage needs of the isolate that it is in. All calls come from the loop's thread; the storage
/// keeps it alive.
package protocol ObjectTurns: AnyObject {
    /// Calls `body` when the code that runs now awaits something that isn't there yet, or has ended: the end of a turn, until
    /// when writes are one transaction.
    func atEndOfTurn(_ body: @escaping () -> Void)
    /// Milliseconds since 1970, by the node's clock.
    var now: Int64 { get }
    /// Makes what was written to the file durable, on a helper thread, and says on the loop's when it is. One call at a time for
    /// each object.
    func makeDurable(_ descriptor: Int32, _ completion: @escaping ((any Error)?) -> Void)
    /// The object's storage is beyond repair in this incarnation: it is to be reset.
    func reset(_ error: DurableObjectError)
}
