/// Where an event stands in the trace of what caused it (W3C Trace Context): the trace, the event itself, and its caller.
package struct TraceSpan: Equatable, Sendable {
    /// The two halves of the trace's id.
    private let high: UInt64
    private let low: UInt64
    private let id: UInt64
    /// `nil`: nobody on this node called it.
    private let parent: UInt64?

    init(high: UInt64, low: UInt64, id: UInt64, parent: UInt64? = nil) {
        self.high = high
        self.low = low
        self.id = id
        self.parent = parent
    }

    /// Of an event that nobody called.
    init(_ random: inout RandomBits) { self.init(high: random.next(), low: random.next(), id: random.next()) }

    /// - Parameter value: Of a `traceparent` header whose form was looked at: `00-<32 hex>-<16 hex>-<2 hex>`.
    init(traceParent value: UnsafeRawBufferPointer) {
        func word(_ start: Int) -> UInt64 {
            (start..<start + 16).reduce(0) { word, index in
                let byte = unsafe value[index]
                return word << 4 | UInt64(byte < 0x3A ? byte &- 0x30 : byte &- 0x57)
            }
        }
        self.init(high: word(3), low: word(19), id: word(36))
    }

    /// Of an event that this one calls.
    func child(_ random: inout RandomBits) -> TraceSpan {
        TraceSpan(high: high, low: low, id: random.next(), parent: id)
    }

    /// 32 hexadecimal digits.
    package var traceID: String { Self.text(high) + Self.text(low) }
    /// 16 hexadecimal digits.
    package var spanID: String { Self.text(id) }
    /// As above; of the event that called it.
    package var parentSpanID: String? { parent.map(Self.text) }

    private static func text(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
