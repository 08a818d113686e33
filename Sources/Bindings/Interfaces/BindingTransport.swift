/// How a binding's calls reach the node. The isolate's event loop implements it; tests give their own.
///
/// Not tied to an isolation: an isolate runs all handler code on one thread.
package protocol BindingTransport: AnyObject, Sendable {
    /// Makes one call and waits for the head of its reply.
    ///
    /// - Throws: the `CallFailure` that the node answered; or one named `Error` with the message
    ///   `Network connection lost.` when the stream was reset; `CancellationError` when the task was cancelled.
    func perform(_ call: BindingCall) async throws -> BindingReply
}

package struct BindingCall: Sendable {
    package var kind: CallKind
    /// The binding's place in the list that `configure` brought.
    package var binding: UInt16
    package var message: [UInt8]
    /// Sent behind the message, as fast as the node grants credit.
    package var body: ByteStream?

    package init(_ kind: CallKind, binding: UInt16, message: [UInt8], body: ByteStream? = nil) {
        self.kind = kind
        self.binding = binding
        self.message = message
        self.body = body
    }
}

package struct BindingReply: Sendable {
    package var message: [UInt8]
    /// `nil` when the reply has no body. Nothing of it is transferred before it is first read.
    package var body: ByteStream?

    package init(message: [UInt8], body: ByteStream? = nil) {
        self.message = message
        self.body = body
    }
}
