import HTTP
import Testing

@Suite struct `Compression of messages` {
    private static let always = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @Test(
        arguments: [
            (["permessage-deflate"], always),
            (["permessage-deflate; client_max_window_bits"], always),
            (["permessage-deflate; client_max_window_bits=\"10\"; server_no_context_takeover"], always),
            (["Permessage-Deflate; server_max_window_bits=10"], always + "; server_max_window_bits=10"),
            (["x-webkit-deflate-frame", "permessage-deflate; server_max_window_bits=8", "permessage-deflate"], always),
            (
                ["permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=15"],
                always + "; server_max_window_bits=15"
            ),
            ([], nil), (["x-webkit-deflate-frame"], nil), (["permessage-deflate; server_max_window_bits"], nil),
            (["permessage-deflate; server_max_window_bits=16"], nil), (["permessage-deflate; server_max_window_bits=09"], nil),
            (["permessage-deflate; client_max_window_bits=7"], nil),
            (["permessage-deflate; server_no_context_takeover=1"], nil),
            (["permessage-deflate; client_no_context_takeover; client_no_context_takeover"], nil),
        ] as [([String], String?)])
    func `takes the first offer that it can take`(offers: [String], answer: String?) {
        #expect(PerMessageDeflate(offers)?.answer == answer)
    }

    /// Doubles each byte.
    private final class Doubler: WebSocketInflater {
        var ends = 0
        func inflate(
            _ bytes: [UInt8], isEnd: Bool, into plain: inout [UInt8], upTo byteCountMax: Int
        ) -> WebSocketInflation {
            if isEnd { ends += 1 }
            plain += bytes.flatMap { [$0, $0] }
            return plain.count > byteCountMax ? .tooLarge : bytes.contains(0x21) ? .malformed : .done
        }
    }

    private func compressed(_ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true) -> [UInt8] {
        var bytes = frame(opcode, payload, isFinal: isFinal)
        bytes[0] |= 0x40
        return bytes
    }

    @Test func `a message is uncompressed however its frames are cut`() {
        let inflater = Doubler()
        let bytes =
            compressed(.text, [0x61], isFinal: false) + frame(.ping, [1]) + frame(.continuation, [0x62]) + frame(.text, [0x63])
        let expected = WebSocketReading([.ping([1]), .text(Array("aabb".utf8)), .text([0x63])])
        #expect(WebSocketReading(of: [bytes], inflater: inflater) == expected)
        #expect(inflater.ends == 1)
        #expect(WebSocketReading(of: bytes.map { [$0] }, inflater: Doubler()) == expected)
    }

    @Test func `keeps the rules, and the limit of what comes out`() {
        let inflater = Doubler()
        #expect(WebSocketReading(of: [compressed(.ping, [])], inflater: inflater).failure == 1002)
        let continued = frame(.text, [], isFinal: false) + compressed(.continuation, [])
        #expect(WebSocketReading(of: [continued], inflater: inflater).failure == 1002)
        #expect(WebSocketReading(of: [compressed(.text, [0x61])]).failure == 1002)
        #expect(WebSocketReading(of: [compressed(.binary, [0x21])], inflater: inflater).failure == 1007)
        #expect(WebSocketReading(of: [compressed(.text, [0xC3])], inflater: inflater).failure == 1007)
        let large = compressed(.binary, [UInt8](repeating: 1, count: 51))
        #expect(WebSocketReading(of: [large], messageBytesMax: 100, inflater: inflater).failure == 1009)
    }
}
