/// Takes a worker's secrets out of texts, by their values: whatever wrote one into a log or an error, nobody reads it there.
///
/// Found are a secret itself, its lines where it has several (a log may be cut at line ends), its base64 and base64url at any
/// offset, its percent-encoding and its escapes in JSON. Not found are secrets, or lines, of fewer than `byteCountMin` bytes,
/// which would be found everywhere, other transformations, and parts of secrets; but for the beginning of one at a text's end,
/// where a log cuts lines.
///
/// All are looked for in one pass, by their first eight bytes. A text that is made to cost more than it should (a long run
/// of what many secrets begin with) is cut there. Immutable: any thread may use it.
package final class SecretRedactor: Sendable {
    package static let byteCountMin = 8
    package static let replacement = "<redacted>"

    /// Steps of comparing that a byte of text may cost on average.
    private static let comparisonsPerByteMax = 32

    /// By the first eight bytes; the longest first.
    private let patterns: [UInt64: [[UInt8]]]
    /// One bit for each pattern's first eight bytes, hashed: nearly all places of a text are done with by a look at it.
    private let filter: [UInt64]
    private static let filterBits = 16

    /// - Returns: `nil` when none of `secrets` is long enough to be looked for.
    package init?(_ secrets: [String]) {
        var patterns: [UInt64: [[UInt8]]] = [:]
        var filter = [UInt64](repeating: 0, count: 1 << (Self.filterBits - 6))
        for pattern in Set(secrets.flatMap { Self.forms(Array($0.utf8)) }) {
            let window = pattern.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            patterns[window, default: []].append(pattern)
            let bit = Self.bit(window)
            filter[bit >> 6] |= 1 << UInt64(bit & 63)
        }
        guard !patterns.isEmpty else { return nil }
        self.patterns = patterns.mapValues { $0.sorted { $0.count > $1.count } }
        self.filter = filter
    }

    private static func bit(_ window: UInt64) -> Int {
        Int(truncatingIfNeeded: (window &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - filterBits))
    }

    // MARK: Redacting

    package func redact(_ text: String) -> String {
        var text = text
        return text.withUTF8 { bytes in
            let bytes = unsafe Span(_unsafeElements: bytes)
            let ranges = find(in: bytes)
            guard !ranges.isEmpty else { return nil }
            var result: [UInt8] = []
            var offset = 0
            for range in ranges {
                for index in offset..<range.lowerBound { result.append(bytes[index]) }
                result += Self.replacement.utf8
                offset = range.upperBound
            }
            for index in offset..<bytes.count { result.append(bytes[index]) }
            return String(decoding: result, as: UTF8.self)
        } ?? text
    }

    /// The places of secrets, in order and apart from each other, and of what wasn't looked at.
    private func find(in bytes: Span<UInt8>) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        // Secrets may overlap: what any of them covers goes.
        func add(_ range: Range<Int>) {
            if let last = ranges.last, range.lowerBound <= last.upperBound {
                ranges[ranges.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                ranges.append(range)
            }
        }
        var window: UInt64 = 0
        var comparisonsLeft = 4096 + bytes.count * Self.comparisonsPerByteMax
        for index in 0..<bytes.count {
            window = window << 8 | UInt64(bytes[index])
            let bit = Self.bit(window)
            guard index >= 7, filter[bit >> 6] & 1 << UInt64(bit & 63) != 0, let candidates = patterns[window] else { continue }
            let start = index - 7
            for pattern in candidates {
                let length = Self.matchingPrefix(of: pattern, in: bytes, at: start)
                comparisonsLeft -= length
                guard comparisonsLeft > 0 else {
                    add(start..<bytes.count)
                    return ranges
                }
                guard length == pattern.count || start + length == bytes.count else { continue }
                add(start..<start + length)
                break
            }
        }
        return ranges
    }

    private static func matchingPrefix(of pattern: [UInt8], in bytes: Span<UInt8>, at start: Int) -> Int {
        var length = 8
        let end = min(pattern.count, bytes.count - start)
        while length < end, bytes[start + length] == pattern[length] { length += 1 }
        return length
    }

    // MARK: Forms

    private static func forms(_ secret: [UInt8]) -> [[UInt8]] {
        guard secret.count >= byteCountMin else { return [] }
        var forms = [secret, percentEncoded(secret), jsonEscaped(secret)]
        let lines = secret.split { $0 == 0x0A || $0 == 0x0D }.map { Array($0) }
        // What every key in PEM has is no secret.
        if lines.count > 1 { forms += lines.filter { $0.count >= byteCountMin && !$0.starts(with: "-----".utf8) } }
        for alphabet in [base64Alphabet, base64URLAlphabet] {
            for shift in 0..<3 { forms.append(base64(secret, shift: shift, alphabet)) }
        }
        return forms.filter { $0.count >= byteCountMin }
    }

    private static let base64Alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let base64URLAlphabet: [UInt8] = Array(base64Alphabet.dropLast(2)) + Array("-_".utf8)

    /// The digits that depend on `bytes` alone when these begin `shift` bytes behind a multiple of three.
    private static func base64(_ bytes: [UInt8], shift: Int, _ alphabet: [UInt8]) -> [UInt8] {
        let bitCount = bytes.count * 8
        // The first digit that begins within the bytes.
        var bit = [0, 4, 2][shift]
        var digits: [UInt8] = []
        while bit + 6 <= bitCount {
            let (index, offset) = (bit / 8, bit % 8)
            let pair = UInt16(bytes[index]) << 8 | (index + 1 < bytes.count ? UInt16(bytes[index + 1]) : 0)
            digits.append(alphabet[Int(pair >> UInt16(10 - offset) & 63)])
            bit += 6
        }
        return digits
    }

    private static func percentEncoded(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return bytes.reduce(into: []) { result, byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: result.append(byte)
            default: result += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
    }

    private static func jsonEscaped(_ bytes: [UInt8]) -> [UInt8] {
        bytes.reduce(into: []) { result, byte in
            switch byte {
            case 0x22, 0x5C: result += [0x5C, byte]
            case 0x0A: result += Array("\\n".utf8)
            case 0x0D: result += Array("\\r".utf8)
            case 0x09: result += Array("\\t".utf8)
            default: result.append(byte)
            }
        }
    }
}
