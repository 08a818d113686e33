import HTTP2
import Testing

/// Answers each request with five bytes, and remembers what it was told.
private final class Requests: HTTP2SessionDelegate {
    var session: HTTP2Session?
    var open: Set<Int32> = []
    var mostOpen = 0
    var fields: [String] = []
    var closed: [Int32: UInt32] = [:]
    var refusals = 0
    var output: [UInt8] = []
    private var left: [Int32: Int] = [:]

    func frameBegan(_ head: HTTP2FrameHead) -> Bool { true }
    func frameRefused() -> Bool {
        refusals += 1
        return true
    }
    func requestBegan(_ stream: Int32) {
        #expect(open.insert(stream).inserted)
        mostOpen = max(mostOpen, open.count)
    }
    func received(_ stream: Int32, name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        #expect(open.contains(stream))
        fields.append(unsafe "\(String(decoding: name, as: UTF8.self))=\(String(decoding: value, as: UTF8.self))")
    }
    func requestHeadEnded(_ stream: Int32, isWholeRequest: Bool) {
        left[stream] = 5
        let lines = Array("Content-Type: text/plain\r\nConnection: close\r\nX-Empty: \r\n".utf8)
        let isTaken = unsafe lines.withUnsafeBytes {
            unsafe session?.respond(stream, status: 200, lines: $0, hasBody: true) ?? false
        }
        #expect(isTaken)
    }
    func received(_ stream: Int32, body bytes: UnsafeRawBufferPointer) {
        session?.giveBack(bytes.count, of: stream)
        session?.giveBackToConnection(bytes.count)
    }
    func requestEnded(_ stream: Int32) {}
    func streamClosed(_ stream: Int32, code: UInt32) {
        if open.remove(stream) != nil { closed[stream] = code }
    }
    func pingAnswered() {}
    func nextPiece(_ stream: Int32, upTo most: Int) -> HTTP2Piece? {
        let count = min(most, left[stream] ?? 0)
        return HTTP2Piece(byteCount: count, isLast: count == left[stream])
    }
    func send(_ stream: Int32, _ piece: HTTP2Piece, frameHead: UnsafeRawBufferPointer) -> HTTP2SendOutcome {
        unsafe output.append(contentsOf: frameHead)
        output += [UInt8](repeating: 0x78, count: piece.byteCount)
        left[stream, default: 0] -= piece.byteCount
        return .sent
    }

    func feed(_ bytes: [UInt8]) throws {
        try unsafe bytes.withUnsafeBytes { bytes throws(HTTP2Session.Failure) in unsafe try session?.receive(bytes) }
        while let bytes = unsafe session?.nextOutput() { unsafe output.append(contentsOf: bytes) }
    }
}

private func frame(_ kind: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
    let count = UInt32(payload.count)
    return [UInt8(truncatingIfNeeded: count >> 16), UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
        + [kind, flags]
        + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: stream >> $0) } + payload
}

@Suite struct `HTTP/2 session` {
    private static let limits = HTTP2Limits(
        streamsMax: 4, fieldBytesMax: 1 << 17, streamWindow: 1 << 18, connectionWindow: 1 << 20)
    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4, 0, 0, [])
    /// GET https://a/ by the static table; the authority is a literal.
    private static let get: [UInt8] = [0x82, 0x87, 0x84, 0x01, 0x01, 0x61]

    private func make() throws -> Requests {
        let requests = Requests()
        requests.session = HTTP2Session(Self.limits, delegate: requests)
        _ = try #require(requests.session)
        return requests
    }

    @Test func `takes a request in single bytes and answers it`() throws {
        let requests = try make()
        for byte in Self.preface + frame(1, 5, 1, Self.get) { try requests.feed([byte]) }
        #expect(requests.fields == [":method=GET", ":scheme=https", ":path=/", ":authority=a"])
        #expect(requests.closed == [1: 0])
        #expect(requests.output.suffix(14) == frame(0, 1, 1, [UInt8](repeating: 0x78, count: 5))[...])
        // A field of the connection has no place here (RFC 9113 §8.2.2).
        #expect(!requests.output.contains(subsequence: Array("connection".utf8)))
    }

    @Test func `refuses what is no HTTP/2`() throws {
        let requests = try make()
        #expect(throws: HTTP2Session.Failure.malformed) { try requests.feed(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) }
    }

    @Test func `ends a session that a head of many pieces keeps busy`() throws {
        let requests = try make()
        try requests.feed(Self.preface)
        #expect(throws: HTTP2Session.Failure.flooded) {
            try requests.feed(frame(1, 1, 1, Self.get))
            for _ in 0..<100 { try requests.feed(frame(9, 0, 1, [])) }
        }
    }

    @Test func `survives whatever comes, with no more streams than may be, and lets go of each`() throws {
        let seed: UInt64 = 0x5EED_0200
        var random = Generator(state: seed)
        for round in 0..<400 {
            let requests = try make()
            try requests.feed(Self.preface)
            var next: UInt32 = 1
            do {
                for _ in 0..<60 where requests.session?.isDone == false {
                    let stream = UInt32.random(in: 0..<next + 4, using: &random)
                    let noise = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
                        UInt8.random(in: 0...255, using: &random)
                    }
                    switch Int.random(in: 0..<10, using: &random) {
                    case 0...3:
                        try requests.feed(frame(1, Bool.random(using: &random) ? 5 : 4, next, Self.get))
                        next += 2
                    case 4: try requests.feed(frame(0, UInt8.random(in: 0...1, using: &random), stream, noise))
                    case 5: try requests.feed(frame(3, 0, stream, [0, 0, 0, 8]))
                    case 6: try requests.feed(frame(8, 0, stream, [0, 0, 1, 0]))
                    case 7: try requests.feed(frame(1, 4, next, Self.get + noise))
                    case 8: try requests.feed(frame(UInt8.random(in: 0...12, using: &random), noise.first ?? 0, stream, noise))
                    default: try requests.feed(frame(4, 0, 0, [0, 4, 0, 0, 0, UInt8.random(in: 0...255, using: &random)]))
                    }
                }
            } catch is HTTP2Session.Failure {}
            #expect(requests.mostOpen <= 4, "seed \(seed), round \(round)")
            requests.session = nil
        }
    }
}

extension [UInt8] {
    fileprivate func contains(subsequence: [UInt8]) -> Bool {
        indices.contains { self[$0...].starts(with: subsequence) }
    }
}

/// SplitMix64.
private struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
