import HTTP
import Testing
import Wire

/// What a reader makes of bytes: the events, and the code of the failure that ended it.
struct WebSocketReading: Equatable {
    var events: [WebSocketReader.Event] = []
    var failure: UInt16?

    init(_ events: [WebSocketReader.Event] = [], failure: UInt16? = nil) {
        self.events = events
        self.failure = failure
    }

    init(
        of pieces: [[UInt8]], masking: WebSocketReader.Masking = .required, messageBytesMax: Int = 1 << 20,
        delivery: WebSocketReader.Delivery = .whole, inflater: (any WebSocketInflater)? = nil
    ) {
        var reader = WebSocketReader(
            masking: masking, messageBytesMax: messageBytesMax, delivery: delivery, inflater: inflater)
        for piece in pieces {
            var offset = 0
            do throws(WebSocketFailure) {
                var buffer = ByteBuffer()
                buffer.append(piece)
                while let event = try unsafe buffer.withReadable({ bytes throws(WebSocketFailure) in
                    try unsafe reader.next(bytes, from: &offset)
                }) { events.append(event) }
            } catch {
                failure = error.code.rawValue
                return
            }
        }
    }
}

extension WebSocketReading {
    /// The same with the pieces of each message put together; and what has come of a message that has no end.
    var assembled: (reading: WebSocketReading, rest: [UInt8]) {
        var events: [WebSocketReader.Event] = []
        var message: [UInt8] = []
        for event in self.events {
            guard case .piece(let opcode, let bytes, let isFinal) = event else {
                events.append(event)
                continue
            }
            message += bytes
            guard isFinal else { continue }
            events.append(opcode == .text ? .text(message) : .binary(message))
            message = []
        }
        return (WebSocketReading(events, failure: failure), message)
    }
}

/// Frames as a client writes them.
func frame(
    _ opcode: WebSocketOpcode, _ payload: [UInt8] = [], isFinal: Bool = true, mask: UInt32? = 0x1234_5678
) -> [UInt8] {
    var buffer = ByteBuffer()
    buffer.appendWebSocketFrame(opcode, payload, isFinal: isFinal, mask: mask.map { WebSocketMask($0) })
    return unsafe buffer.withReadable { unsafe Array($0) }
}

private func text(_ text: String) -> WebSocketReader.Event { .text(Array(text.utf8)) }

@Suite struct `WebSocket reader` {
    /// Read up to `cut` by one reader, and from there by another.
    private static func replaced(at cut: Int, _ bytes: [UInt8]) throws -> WebSocketReading {
        var reader = WebSocketReader(masking: .required, messageBytesMax: 1 << 20)
        var events: [WebSocketReader.Event] = []
        var offset = 0
        let early = Array(bytes[..<cut])
        while let event = try reader.next(unsafe early.span.bytes, from: &offset) { events.append(event) }
        let begun = try #require(reader.begun)
        #expect(reader.canBeReplaced)
        let rest = WebSocketReading(of: [begun, Array(bytes[cut...])])
        return WebSocketReading(events + rest.events, failure: rest.failure)
    }

    @Test func `is replaced by another one at every byte`() throws {
        let text = Array("Grüße, Welt".utf8)
        let frames: [[UInt8]] = [
            // Cut within a character.
            frame(.text, Array(text[..<3]), isFinal: false, mask: 0x0102_0304), frame(.ping, Array("ping".utf8)),
            frame(.continuation, Array(text[3..<9]), isFinal: false, mask: 0xA1B2_C3D4), frame(.pong),
            frame(.continuation, Array(text[9...])), frame(.binary, [UInt8](repeating: 7, count: 300), mask: 0x9988_7766),
            frame(.text), frame(.close, [0x03, 0xE8]),
        ]
        let bytes = Array(frames.joined())
        let whole = WebSocketReading(of: [bytes])
        #expect(whole.failure == nil)
        #expect(whole.events.count == 6)
        for cut in 0...bytes.count { #expect(try Self.replaced(at: cut, bytes) == whole, "cut at \(cut)") }
    }

    @Test func `can't be replaced within a compressed message`() throws {
        var reader = WebSocketReader(masking: .required, messageBytesMax: 1 << 20, inflater: Growing())
        var bytes = frame(.text, [1, 2, 3])
        bytes[0] |= 0x40
        let (begin, end) = (Array(bytes[..<8]), Array(bytes[8...]))
        var offset = 0
        let early = try reader.next(unsafe begin.span.bytes, from: &offset)
        #expect(early == nil)
        #expect(reader.begun == nil)
        #expect(!reader.canBeReplaced)
        offset = 0
        let whole = try reader.next(unsafe end.span.bytes, from: &offset)
        #expect(whole == text("aaaaaa"))
        #expect(reader.begun == [])
        #expect(reader.canBeReplaced)
    }

    private final class Growing: WebSocketInflater {
        func inflate(
            _ bytes: [UInt8], isEnd: Bool, into plain: inout [UInt8], upTo byteCountMax: Int
        ) -> WebSocketInflation {
            plain += [UInt8](repeating: UInt8(ascii: "a"), count: 2 * bytes.count)
            return .done
        }
    }

    private static let zeros = [UInt8](repeating: 0, count: 4)

    // The examples of RFC 6455 §5.7.
    @Test func `reads the examples of the RFC`() {
        let masked: [UInt8] = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        #expect(WebSocketReading(of: [masked]) == WebSocketReading([text("Hello")]))
        let plain: [UInt8] = [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]
        #expect(WebSocketReading(of: [plain], masking: .refused) == WebSocketReading([text("Hello")]))
        #expect(WebSocketReading(of: [plain + masked], masking: .optional) == WebSocketReading([text("Hello"), text("Hello")]))
        let fragments: [UInt8] = [0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F]
        #expect(WebSocketReading(of: [fragments], masking: .refused) == WebSocketReading([text("Hello")]))
        let ping: [UInt8] = [0x89, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]
        #expect(WebSocketReading(of: [ping], masking: .refused) == WebSocketReading([.ping(Array("Hello".utf8))]))
        let binary = [UInt8](repeating: 9, count: 65536)
        let header: [UInt8] = [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]
        #expect(WebSocketReading(of: [header + binary], masking: .refused) == WebSocketReading([.binary(binary)]))
    }

    @Test(arguments: [0, 1, 2, 3, 7, 8, 9, 125, 126, 127, 128, 65535, 65536, 65537])
    func `reads what the writer writes, at all lengths`(count: Int) {
        let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let expected = WebSocketReading([.binary(payload)])
        #expect(WebSocketReading(of: [frame(.binary, payload)]) == expected)
        #expect(WebSocketReading(of: frame(.binary, payload).smallPieces()) == expected)
        #expect(WebSocketReading(of: [frame(.binary, payload, mask: nil)], masking: .refused) == expected)
    }

    /// The groups of Autobahn's suite, by its numbers.
    @Test(
        arguments: [
            // 2: pings and pongs.
            ("2.1", frame(.ping), [.ping([])], nil),
            ("2.4", frame(.ping, [UInt8](repeating: 0xFE, count: 125)), [.ping([UInt8](repeating: 0xFE, count: 125))], nil),
            ("2.5", [0x89, 0xFE, 0, 126], [], 1002),
            ("2.7", frame(.pong, [1]), [.pong([1])], nil),
            // 3: reserved bits.
            ("3.1", [0x91], [], 1002), ("3.2", [0xA1], [], 1002), ("3.4", [0xC1], [], 1002), ("3.6", [0xC2], [], 1002),
            ("3.7", [0xF8], [], 1002),
            // 4: reserved opcodes.
            ("4.1.1", [0x83], [], 1002), ("4.1.5", [0x87], [], 1002), ("4.2.1", [0x8B], [], 1002), ("4.2.5", [0x8F], [], 1002),
            // 5: fragments.
            ("5.1", frame(.ping, [1], isFinal: true).replacingFirst(0x09), [], 1002),
            ("5.3", frame(.text, [0x61], isFinal: false) + frame(.continuation, [0x62]), [text("ab")], nil),
            (
                "5.6", frame(.text, [0x61], isFinal: false) + frame(.ping, [1]) + frame(.continuation, [0x62]),
                [.ping([1]), text("ab")], nil
            ),
            ("5.9", frame(.continuation, [0x61]), [], 1002),
            ("5.10", frame(.continuation, [0x61], isFinal: false), [], 1002),
            (
                "5.15", frame(.text, [0x61], isFinal: false) + frame(.continuation, [0x62]) + frame(.continuation),
                [text("ab")],
                1002
            ),
            ("5.18", frame(.text, [0x61], isFinal: false) + frame(.text, [0x62]), [], 1002),
            (
                "6.1.3", frame(.text, isFinal: false) + frame(.continuation, isFinal: false) + frame(.continuation), [text("")],
                nil
            ),
            // 7: the end.
            ("7.3.1", frame(.close), [.close(nil, reason: "")], nil),
            ("7.3.2", frame(.close, [0]), [], 1002),
            ("7.3.3", frame(.close, [3, 0xE8]), [.close(.normal, reason: "")], nil),
            (
                "7.3.5", frame(.close, [3, 0xE8] + [UInt8](repeating: 0x2A, count: 123)),
                [.close(.normal, reason: String(repeating: "*", count: 123))], nil
            ),
            ("7.3.6", [0x88, 0xFE], [], 1002),
            ("7.5.1", frame(.close, [3, 0xE8, 0xCE, 0xBA, 0xE1]), [], 1007),
            // Lengths that could be shorter, or are no lengths.
            ("shorter 16", [0x82, 0xFE, 0, 125] + zeros, [], 1002),
            ("shorter 64", [0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF] + zeros, [], 1002),
            ("64 bits", [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0] + zeros, [], 1002),
            ("no mask", [0x81, 0x01, 0x61], [], 1002),
        ] as [(String, [UInt8], [WebSocketReader.Event], UInt16?)])
    func `keeps the rules`(name: String, bytes: [UInt8], events: [WebSocketReader.Event], failure: UInt16?) {
        let expected = WebSocketReading(events, failure: failure)
        #expect(WebSocketReading(of: [bytes]) == expected, "\(name)")
        #expect(WebSocketReading(of: bytes.map { [$0] }) == expected, "\(name), byte by byte")
    }

    @Test func `knows the close codes`() {
        let allowed = Set([1000...1003, 1007...1014, 3000...4999].flatMap { $0.map { UInt16($0) } })
        for code in UInt16.min...UInt16.max {
            let payload = [UInt8(code >> 8), UInt8(code & 0xFF)]
            let reading = WebSocketReading(of: [frame(.close, payload)])
            if allowed.contains(code) {
                #expect(reading == WebSocketReading([.close(WebSocketCloseCode(rawValue: code), reason: "")]))
            } else {
                #expect(reading == WebSocketReading(failure: 1002), "\(code)")
            }
        }
    }

    @Test func `refuses a masked frame of a server`() {
        #expect(WebSocketReading(of: [frame(.text)], masking: .refused) == WebSocketReading(failure: 1002))
    }

    @Test func `refuses a message beyond the limit before its payload comes`() {
        let limit = 1000
        let whole = frame(.binary, [UInt8](repeating: 1, count: limit))
        #expect(WebSocketReading(of: [whole], messageBytesMax: limit).failure == nil)
        let header = Array(frame(.binary, [UInt8](repeating: 1, count: limit + 1)).prefix(8))
        #expect(WebSocketReading(of: [header], messageBytesMax: limit) == WebSocketReading(failure: 1009))
        let parts = frame(.binary, [UInt8](repeating: 1, count: 600), isFinal: false)
        let next = Array(frame(.continuation, [UInt8](repeating: 1, count: 401)).prefix(8))
        #expect(WebSocketReading(of: [parts + next], messageBytesMax: limit) == WebSocketReading(failure: 1009))
        // Terabytes that are only announced.
        let huge: [UInt8] = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF] + Self.zeros
        #expect(WebSocketReading(of: [huge]) == WebSocketReading(failure: 1009))
    }

    @Test func `says how large the message is`() {
        var reader = WebSocketReader(masking: .refused, messageBytesMax: 33_554_432)
        let header: [UInt8] = [0x82, 0x7F, 0, 0, 0, 0, 2, 0, 0, 1]
        #expect(throws: WebSocketFailure(.messageTooBig, "Message is too large: 33554433 > 33554432")) {
            var offset = 0
            _ = try unsafe header.withUnsafeBytes { try unsafe reader.next($0, from: &offset) }
        }
    }

    @Test(
        arguments: [
            ([0xCE, 0xBA, 0xE1, 0xBD, 0xB9, 0xCF, 0x83, 0xCE, 0xBC, 0xCE, 0xB5], true),
            ([0xC0, 0x80], false), ([0xE0, 0x80, 0x80], false), ([0xED, 0xA0, 0x80], false),
            ([0xF4, 0x90, 0x80, 0x80], false), ([0xF0, 0x9F, 0x98, 0x80], true), ([0xED, 0x9F, 0xBF], true),
            ([0xEE, 0x80, 0x80], true), ([0xF4, 0x8F, 0xBF, 0xBF], true), ([0xFE], false), ([0x80], false),
            ([0xF8, 0x88, 0x80, 0x80, 0x80], false), ([0xCE], false), ([0xF0, 0x9F, 0x98], false),
            ([0xEF, 0xBF, 0xBF], true), ([0x00], true),
        ] as [([UInt8], Bool)])
    func `takes UTF-8 alone as text, however it is split`(bytes: [UInt8], isValid: Bool) {
        // Behind more than eight letters, so that the fast way is taken too.
        let payload = Array("twelve bytes".utf8) + bytes
        let expected = isValid ? WebSocketReading([.text(payload)]) : WebSocketReading(failure: 1007)
        for cut in 0...payload.count {
            let whole = frame(.text, Array(payload[..<cut]), isFinal: false) + frame(.continuation, Array(payload[cut...]))
            #expect(WebSocketReading(of: [whole]) == expected)
            #expect(WebSocketReading(of: whole.map { [$0] }) == expected)
        }
    }

    @Test func `finds a wrong byte at once`() {
        let beginning = Array(frame(.text, [0x61, 0xFF] + [UInt8](repeating: 0x61, count: 1000)).prefix(10))
        #expect(WebSocketReading(of: [beginning]) == WebSocketReading(failure: 1007))
    }

    @Test(arguments: UInt64(1)...16)
    func `gives one outcome for all splits, and breaks at nothing`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for round in 0..<400 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let opcodes: [WebSocketOpcode] = [.continuation, .text, .binary, .ping, .pong, .close]
                let opcode = opcodes.randomElement(using: &random) ?? .text
                let isControl = opcode.rawValue >= 8
                let longest = isControl ? 20 : Bool.random(using: &random) ? 20 : 300
                let payload = (0..<Int.random(in: 0...longest, using: &random)).map { _ in
                    UInt8.random(in: 0x20...0x7E, using: &random)
                }
                let isFinal = isControl || Bool.random(using: &random)
                bytes += frame(opcode, payload, isFinal: isFinal, mask: UInt32.random(in: 0...(.max), using: &random))
            }
            if Bool.random(using: &random) {
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
            }
            let whole = WebSocketReading(of: [bytes], messageBytesMax: 500)
            let split = WebSocketReading(of: bytes.pieces(using: &random), messageBytesMax: 500)
            #expect(split == whole, "seed \(seed), round \(round)")
            let pieces = WebSocketReading(of: bytes.pieces(using: &random), messageBytesMax: 500, delivery: .inPieces)
            #expect(pieces.assembled.reading == whole, "seed \(seed), round \(round)")
            for case .text(let text) in whole.events {
                #expect(String(validating: text, as: UTF8.self) != nil, "seed \(seed), round \(round)")
            }
        }
    }
}

@Suite struct `WebSocket pieces` {
    @Test(arguments: UInt64(1)...8)
    func `are the message, and never much of it at once`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for round in 0..<10 {
            let message = (0..<Int.random(in: 0...200_000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
            }
            var bytes: [UInt8] = []
            let pieces = message.pieces(using: &random)
            for (index, piece) in pieces.enumerated() {
                bytes += frame(index == 0 ? .binary : .continuation, piece, isFinal: index == pieces.count - 1)
                if Bool.random(using: &random) { bytes += frame(.ping, [UInt8(index & 0xFF)]) }
            }
            let reading = WebSocketReading(of: bytes.pieces(using: &random), delivery: .inPieces)
            let assembled = reading.assembled
            let messages = assembled.reading.events.filter { if case .ping = $0 { false } else { true } }
            #expect(messages == (pieces.isEmpty ? [] : [.binary(message)]), "seed \(seed), round \(round)")
            #expect(reading.failure == nil && assembled.rest.isEmpty, "seed \(seed), round \(round)")
            for case .piece(_, let bytes, _) in reading.events { #expect(bytes.count < 32 << 10) }
        }
    }

    @Test func `count for the limit together`() {
        let half = [UInt8](repeating: 0x61, count: 50_000)
        let two = frame(.text, half, isFinal: false) + frame(.continuation, half)
        #expect(WebSocketReading(of: [two], messageBytesMax: 100_000, delivery: .inPieces).failure == nil)
        #expect(WebSocketReading(of: [two], messageBytesMax: 99_999, delivery: .inPieces).failure == 1009)
    }

    @Test func `of a text may end within a character, but not the message`() {
        let bytes = Array(String(repeating: "€", count: 20_000).utf8)
        let whole = WebSocketReading(of: [frame(.text, bytes)], delivery: .inPieces)
        #expect(whole.assembled.reading == WebSocketReading([.text(bytes)]))
        #expect(WebSocketReading(of: [frame(.text, Array(bytes.dropLast()))], delivery: .inPieces).failure == 1007)
    }
}

@Suite struct `UTF-8 validator` {
    @Test(arguments: UInt64(1)...4)
    func `agrees with the standard library`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let interesting: [UInt8] = [
            0x00, 0x61, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF4, 0xF5,
        ]
        for round in 0..<5000 {
            let bytes = (0..<Int.random(in: 0...14, using: &random)).map { _ in
                interesting.randomElement(using: &random) ?? 0
            }
            var validator = UTF8Validator()
            var isValid = true
            for piece in bytes.pieces(using: &random) where isValid { isValid = unsafe validator.accepts(piece.span.bytes) }
            let expected = String(validating: bytes, as: UTF8.self) != nil
            #expect((isValid && validator.isComplete) == expected, "seed \(seed), round \(round)")
        }
    }
}

@Suite struct `WebSocket writer` {
    @Test func `cuts a reason by whole characters`() {
        var buffer = ByteBuffer()
        buffer.appendWebSocketClose(.goingAway, reason: String(repeating: "ä", count: 100))
        let bytes = unsafe buffer.withReadable { unsafe Array($0) }
        #expect(bytes.count == 2 + 2 + 122)
        let reason = String(repeating: "ä", count: 61)
        #expect(WebSocketReading(of: [bytes], masking: .refused).events == [.close(.goingAway, reason: reason)])
    }

    @Test func `writes a Close frame without a code`() {
        var buffer = ByteBuffer()
        buffer.appendWebSocketClose(nil)
        #expect(unsafe buffer.withReadable { unsafe Array($0) } == [0x88, 0])
    }
}

extension [UInt8] {
    fileprivate func replacingFirst(_ byte: UInt8) -> [UInt8] { [byte] + dropFirst() }
}
