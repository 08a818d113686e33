import Observability
import Synchronization
import System
import Testing

@Suite struct `Secret redactor` {
    private let secret = "correct-horse/battery+staple"

    private func redact(_ text: String, _ secrets: [String]) -> String? { SecretRedactor(secrets)?.redact(text) }

    @Test func `takes a secret out wherever it stands`() {
        #expect(redact(secret, [secret]) == "<redacted>")
        #expect(redact("a \(secret) b \(secret)", [secret]) == "a <redacted> b <redacted>")
        #expect(redact("key=\(secret)&x", [secret]) == "key=<redacted>&x")
        #expect(redact("é\(secret)é", [secret]) == "é<redacted>é")
        #expect(redact("nothing here", [secret]) == "nothing here")
        #expect(redact("", [secret]) == "")
    }

    @Test func `looks for none of fewer than eight bytes`() {
        #expect(SecretRedactor([]) == nil)
        #expect(SecretRedactor(["", "1234567"]) == nil)
        #expect(redact("a 12345678 b", ["12345678", "1234567"]) == "a <redacted> b")
    }

    @Test(arguments: 0..<7) func `knows base64 at any offset`(offset: Int) {
        func base64(_ text: String, _ alphabet: String) -> String {
            let (bytes, digits) = (Array(text.utf8), Array(alphabet))
            return stride(from: 0, to: bytes.count, by: 3).map { start in
                let group = bytes[start..<min(start + 3, bytes.count)]
                let bits = (0..<3).reduce(0) { $0 << 8 | ($1 < group.count ? Int(group[start + $1]) : 0) }
                return String((0..<4).map { $0 <= group.count ? digits[bits >> (18 - 6 * $0) & 63] : "=" })
            }.joined()
        }
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        // Digits that none of its 6-bit groups shares with "+/" would tell nothing of the second alphabet.
        for secret in [secret, "\u{3FF}\u{3FE}~~~???>>>\u{FB}\u{FF}", "12345678"] {
            for alphabet in [letters + "+/", letters + "-_"] {
                let prefix = String(repeating: "p", count: offset)
                let text = "token: \(base64(prefix + secret + "suffix", alphabet)) end"
                let found = redact(text, [secret]) ?? ""
                #expect(found.contains("<redacted>") && found.hasSuffix(" end"), "\(text)")
                // Of the digits at both ends, which its neighbours have a part in, nothing can be read back.
                #expect(found.utf8.count < text.utf8.count - (secret.utf8.count * 8 / 6) + 4 + 10, "\(found)")
            }
        }
    }

    @Test func `knows percent-encoding and the escapes of JSON`() {
        let secret = "a\"b\\c\nd\te/f g"
        #expect(redact("?k=a%22b%5Cc%0Ad%09e%2Ff%20g&x", [secret]) == "?k=<redacted>&x")
        #expect(redact(#"{"k":"a\"b\\c\nd\te/f g"}"#, [secret]) == #"{"k":"<redacted>"}"#)
    }

    @Test func `knows the lines of one that has several, but for those that say what it is`() {
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIE\r\nIPAsecondline1234567\n-----END PRIVATE KEY-----\n"
        #expect(redact("MC4CAQAwBQYDK2VwBCIE", [key]) == "<redacted>")
        #expect(redact("IPAsecondline1234567", [key]) == "<redacted>")
        let title = "-----BEGIN PRIVATE KEY----- is no secret"
        #expect(redact(title, [key]) == title)
        #expect(redact("so: \(key)", [key]) == "so: <redacted>")
    }

    @Test func `takes out the longest, and all of those that overlap`() {
        #expect(redact("12345678abcd", ["12345678", "12345678abcd"]) == "<redacted>")
        #expect(redact("x12345678abcdefghx", ["12345678abcd", "5678abcdefgh"]) == "x<redacted>x")
        #expect(redact("aaaaaaaaaaaaaaab", ["aaaaaaaa"]) == "<redacted>b")
    }

    @Test func `takes out the beginning of one that a text was cut in`() {
        #expect(redact("it is correct-ho", [secret]) == "it is <redacted>")
        #expect(redact("it is correct", [secret]) == "it is correct")
        #expect(redact("it is correct-ho, or so", [secret]) == "it is correct-ho, or so")
    }

    @Test func `costs no more than it may, and shows nothing of what it didn't look at`() {
        let run = String(repeating: "a", count: 200_000)
        let secrets = (0..<100).map { String(repeating: "a", count: 4000) + "b\($0)" }
        let found = redact("x \(run)", secrets) ?? ""
        #expect(found.hasPrefix("x aaa") && found.hasSuffix("a<redacted>") && found.utf8.count < 200)
        // What is cheap is looked at to its end.
        let cheap = String(repeating: "abcdefg ", count: 25_000)
        #expect(redact(cheap + secret, [secret]) == cheap + "<redacted>")
    }

    @Test func `agrees with a plain search on random texts`() {
        let seed = UInt64.random(in: 0 ... .max)
        var state = seed
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<500 {
            let secrets = (0..<3).map { _ in String((0..<(8 + next(3))).map { _ in "ab".randomCharacter(next(2)) }) }
            let text = String((0..<next(60)).map { _ in "ab".randomCharacter(next(2)) }) + "."
            let bytes = Array(text.utf8)
            var isHidden = [Bool](repeating: false, count: bytes.count)
            for secret in secrets.map({ Array($0.utf8) }) {
                for start in 0..<max(0, bytes.count - secret.count + 1)
                where Array(bytes[start..<start + secret.count]) == secret {
                    for index in start..<start + secret.count { isHidden[index] = true }
                }
            }
            var expected = ""
            for index in bytes.indices {
                if !isHidden[index] {
                    expected.unicodeScalars.append(Unicode.Scalar(bytes[index]))
                } else if index == 0 || !isHidden[index - 1] {
                    expected += "<redacted>"
                }
            }
            #expect(redact(text, secrets) == expected, "seed \(seed), text \(text), secrets \(secrets)")
        }
    }

    private final class Records: LogSink {
        let lines = Mutex<[String]>([])
        func write(_ record: LogRecord) {
            lines.withLock { $0.append("\(record.message) \(record.fields.map { "\($0.name)=\($0.value)" })") }
        }
    }

    @Test func `goes over messages and fields of a logger, those that all records carry too`() {
        let records = Records()
        let logger = Logger(sink: records, clock: VirtualClock(), level: .info).with("own", secret)
            .redacting(SecretRedactor([secret]))
        logger.log(.info, "it is \(secret)", [("field", secret), (secret, "x")])
        logger.with("more", secret).log(.error, "again")
        #expect(
            records.lines.withLock { $0 } == [
                #"it is <redacted> ["own=<redacted>", "field=<redacted>", "<redacted>=x"]"#,
                #"again ["own=<redacted>", "more=<redacted>"]"#,
            ])
    }
}

extension String {
    fileprivate func randomCharacter(_ index: Int) -> Character { self[self.index(startIndex, offsetBy: index)] }
}
