internal import Interfaces
internal import Isolates
internal import Wire

/// What stands in front of the message of each call from an isolate.
struct CallHead {
    static let byteCount = 8
    static let noBinding = UInt16.max

    let kind: CallKind
    let binding: UInt16
    /// The event that makes the call.
    let parent: UInt32

    init(reading bytes: RawSpan) throws(WireError) {
        guard bytes.byteCount >= Self.byteCount else { throw .truncated(offset: bytes.byteCount) }
        guard let kind = CallKind(rawValue: bytes.littleEndianUInt16(at: 0)), kind.rawValue >= CallKind.log.rawValue
        else { throw .invalidValue("call kind", offset: 0) }
        self.kind = kind
        binding = bytes.littleEndianUInt16(at: 2)
        parent = bytes.littleEndianUInt32(at: 4)
    }
}

extension StreamReset {
    /// Reads the payload of a `reset` frame. Never fails: what can't be read is an internal error.
    init(decoding payload: UnsafeRawBufferPointer) {
        guard payload.count >= 2 else {
            self.init(.internal, "reset without a code")
            return
        }
        let code = Code(rawValue: unsafe payload.bytes.littleEndianUInt16(at: 0)) ?? .internal
        self.init(code, unsafe String(decoding: payload.dropFirst(2), as: UTF8.self))
    }

    /// What the end of an isolate means to one of its streams.
    init(_ exit: IsolateExit, channel: Int, stream: UInt32) {
        switch exit.reason {
        case .exceededCPU(let event, _, _):
            if let event, event.channel != channel || event.stream != stream {
                self.init(.internal, "the isolate was ended because of another event")
            } else {
                self.init(.exceededCPU, "Worker exceeded CPU time limit.")
            }
        case .exceededMemory: self.init(.exceededMemory, "Worker exceeded memory limit.")
        case .killed, .exited, .crashed, .exceededThreads, .violatedSandbox:
            self.init(.internal, "the isolate \(exit.reason)")
        }
    }
}
