import HTTP
import Testing

/// Seeded mutations of valid requests, read by the parser and by a simple second reader.
@Suite struct `Request fuzzing` {
    private static let seeds: [[UInt8]] =
        RequestCase.all.filter { $0.bytes.count < 2000 && !$0.bytes.isEmpty }.map(\.bytes)

    private static let dictionary: [[UInt8]] = [
        "\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", ";", "Content-Length: 5\r\n", "Content-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Host: x\r\n", " chunked",
        "0\r\n\r\n",
        "\r\n\r\n", "HTTP/1.0", "GET / HTTP/1.1\r\n", "Connection: close, content-length\r\n", "\u{B}",
        "\u{7F}",
    ].map { Array($0.utf8) }

    private func mutate(_ bytes: [UInt8], using random: inout SplitMix64) -> [UInt8] {
        var bytes = bytes
        for _ in 0...Int.random(in: 0...3, using: &random) {
            let place = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1 where place < bytes.count: bytes.remove(at: place)
            case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
            case 3:
                let end = min(bytes.count, place + Int.random(in: 0...40, using: &random))
                bytes.insert(
                    contentsOf: bytes[place..<end], at: Int.random(in: 0...bytes.count, using: &random))
            case 4:
                let end = min(bytes.count, place + Int.random(in: 0...10, using: &random))
                bytes.removeSubrange(place..<end)
            default:
                bytes.insert(contentsOf: Self.dictionary.randomElement(using: &random) ?? [], at: place)
            }
        }
        return bytes
    }

    @Test(arguments: UInt64(1)...8)
    func `gives one outcome for all splits, and only what a second reader agrees with`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var accepted = 0
        for round in 0..<1500 {
            let bytes = mutate(try #require(Self.seeds.randomElement(using: &random)), using: &random)
            let whole = ServerModel.outcomes(of: [bytes])
            let pieces = bytes.pieces(using: &random)
            let label = Comment(
                "seed \(seed), round \(round): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
            try #require(ServerModel.outcomes(of: pieces) == whole, label)

            var parser = RequestHeadParser()
            guard case .complete(let count) = unsafe parser.parse(bytes.span.bytes) else { continue }
            accepted += 1
            let second = SecondReader(Array(bytes[..<count]))
            try #require(second.problem == nil, label)
            let length: Int64? = parser.head.contentLength
            let isChunked = parser.head.isChunked
            try #require(second.contentLength == length, label)
            try #require(second.isChunked == isChunked, label)
        }
        #expect(accepted > 50)
    }
}

/// Reads a complete head the simple way: cut at CRLF, cut at the colon, count.
private struct SecondReader {
    var problem: String?
    var contentLength: Int64?
    var isChunked = false

    init(_ head: [UInt8]) { problem = read(head) }

    /// - Returns: why the head must not be accepted.
    private mutating func read(_ head: [UInt8]) -> String? {
        let text = String(String.UnicodeScalarView(head.map { Unicode.Scalar($0) }))
        var lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map(
            Array.init)
        guard lines.last?.isEmpty == true else { return "does not end in a line end" }
        lines.removeLast()
        for index in lines.indices {
            guard lines[index].last == "\r" else { return "bare LF" }
            lines[index].removeLast()
            if lines[index].contains(where: { $0 == "\r" || $0 == "\0" || $0.value == 0x7F }) {
                return "CR, NUL or DEL inside a line"
            }
            if lines[index].contains(where: { $0.value < 0x20 && $0 != "\t" }) { return "control character" }
        }
        guard lines.last?.isEmpty == true else { return "no empty line" }
        lines.removeLast()
        if lines.first?.isEmpty == true { lines.removeFirst() }
        guard !lines.isEmpty else { return "no request line" }
        let words = lines[0].split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words.allSatisfy({ !$0.isEmpty }) else { return "not three words" }
        let version = String(String.UnicodeScalarView(words[2]))
        guard version.hasPrefix("HTTP/1."), version.count == 8 else { return "version" }

        var hosts = 0
        var lengths: [String] = []
        var codings: [String] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":"), colon > 0 else { return "no name" }
            let name = String(String.UnicodeScalarView(line[..<colon])).lowercased()
            guard
                name.unicodeScalars.allSatisfy({
                    $0.value > 0x20 && $0.value < 0x7F && !"(),/:;<=>?@[\\]{}\"".unicodeScalars.contains($0)
                })
            else { return "name" }
            var value = line[(colon + 1)...]
            while let first = value.first, first == " " || first == "\t" { value.removeFirst() }
            while let last = value.last, last == " " || last == "\t" { value.removeLast() }
            let text = String(String.UnicodeScalarView(value))
            switch name {
            case "host": hosts += 1
            case "content-length": lengths.append(text)
            case "transfer-encoding": codings.append(text.lowercased())
            default: break
            }
        }
        guard hosts == 1 || hosts == 0 && version == "HTTP/1.0" else { return "\(hosts) hosts" }
        guard lengths.count <= 1, codings.count <= 1, lengths.isEmpty || codings.isEmpty else {
            return "two framings"
        }
        if let length = lengths.first {
            guard !length.isEmpty, length.allSatisfy({ ("0"..."9").contains($0) }), let number = Int64(length)
            else {
                return "length"
            }
            contentLength = number
        }
        if let coding = codings.first {
            guard coding == "chunked", version != "HTTP/1.0" else { return "coding" }
            isChunked = true
        }
        return nil
    }
}
