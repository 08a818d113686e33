package import Interfaces
internal import Wire

/// Open as long as `waitUntil` work of an answered event is.
final class WaitUntilStream: StreamEndpoint, @unchecked Sendable {
    private let invocation: Invocation

    init(_ invocation: Invocation, channel: Channel, stream: UInt32) {
        self.invocation = invocation
        super.init(channel: channel, stream: stream)
    }

    func finish() {
        guard !isClosed else { return }
        channel.appendEnd(stream: stream)
        close(incoming: CancellationError())
    }

    // The node need not answer; should it, there is nothing to learn from it.
    override func receivedOpen(_ flags: FrameFlags, _ payload: UnsafeRawBufferPointer) throws(WireError) {}

    override func receivedReset(code: UInt16, message: String) {
        close(incoming: CancellationError())
        invocation.cancelWaitUntil()
    }
}

/// An error that knows what callers elsewhere get.
package protocol CallFailureConvertible: Error {
    var callFailure: CallFailure { get }
}

/// Something that isn't Sendable in the hands of the one thread that may touch it: all code of an isolate runs there.
struct Confined<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

extension CallFailure {
    /// Any error, as it crosses to the node: the name of its type and its description.
    init(describing error: any Error) {
        if let failure = error as? CallFailure {
            self = failure
        } else if let failure = error as? any CallFailureConvertible {
            self = failure.callFailure
        } else {
            self.init(String(describing: error), name: String(describing: type(of: error)))
        }
    }
}

extension CallFailure {
    /// As callers get it: the name of the error's type and its description.
    package init(thrown error: any Error) { self.init(describing: error) }
}
