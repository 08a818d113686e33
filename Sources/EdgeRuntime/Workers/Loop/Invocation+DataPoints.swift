internal import Interfaces

extension Invocation: DataPointTransport {
    func onItsThread(_ body: @escaping @Sendable () -> Void) {
        loop.onLoop(body)
    }

    func countDataPoint() -> Int {
        dataPointCount += 1
        return dataPointCount
    }

    func post(_ call: BindingCall) -> Bool {
        // A node that doesn't read gets no more of what nobody waits for.
        guard event != .startup, !isOver,
            channel.output.readableByteCount < 8 * Channel.outputBytesMax
        else { return false }
        let send = { [channel, stream] in
            channel.appendCall(
                call.kind, stream: channel.takeStream(), binding: call.binding, parent: stream, flags: [.end, .lazyBody],
                call.message)
        }
        if let outputGate { outputGate.emit(send) } else { send() }
        return true
    }

    func warn(_ text: String) {
        log(LogMessage(level: Log.Level.warn.rawValue, text: text, fields: []))
    }
}
