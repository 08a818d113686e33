internal import Interfaces
internal import Wire

/// A worker's own `fetch` to the outside.
enum OutboundCall {
    static func start(
        _ call: CallStream, of event: EventStream, _ message: UnsafeRawBufferPointer
    ) throws(WireError) -> AnyObject? {
        call.answer(failure: CallFailure("Network connection lost."))
        return nil
    }
}
