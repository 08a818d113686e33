/// Host names of patterns, in the form in which a request carries them.
enum RouteHostName {
    enum Failure: Error {
        case port
        case invalid(String)

        var problem: RoutePatternError.Problem {
            switch self {
            case .port: .port
            case .invalid(let reason): .host(reason)
            }
        }
    }

    /// RFC 1035 §2.3.4.
    static let byteCountMax = 253
    static let labelByteCountMax = 63

    /// Lower case, labels in punycode, without a trailing dot.
    ///
    /// - Parameter isSuffix: The text is what follows a `*`: empty, `.example.com`, or `ample.com`.
    static func normalized(_ text: Substring, isSuffix: Bool) throws(Failure) -> String {
        if isSuffix, text.isEmpty { return "" }
        if text.hasPrefix("["), !isSuffix { return try normalizedAddress(text) }
        guard !text.contains(":") else { throw .port }
        guard !text.contains("@") else { throw .invalid("it names a user") }
        var labels = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if labels.count > 1, labels.last == "" { labels.removeLast() }
        for (index, label) in labels.enumerated() {
            if label.isEmpty, isSuffix, index == 0 { continue }
            guard !label.isEmpty else { throw .invalid("a label is empty") }
            if isSuffix, index == 0, !label.utf8.allSatisfy({ $0 < 0x80 }) {
                throw .invalid("a wildcard must be followed by a dot when its label isn't ASCII")
            }
            labels[index] = try asciiLabel(label)
            guard labels[index].utf8.count <= labelByteCountMax else {
                throw .invalid("the label \"\(label)\" is longer than \(labelByteCountMax) bytes")
            }
        }
        let name = labels.joined(separator: ".")
        guard name.utf8.count <= byteCountMax else {
            throw .invalid("it is longer than \(byteCountMax) bytes")
        }
        return name
    }

    private static func normalizedAddress(_ text: Substring) throws(Failure) -> String {
        guard let close = text.firstIndex(of: "]") else { throw .invalid("the bracket is never closed") }
        guard text.index(after: close) == text.endIndex else { throw .port }
        let inside = text[text.index(after: text.startIndex)..<close]
        let isAddress = inside.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x3A, 0x41...0x46, 0x61...0x66, 0x2E: true
            default: false
            }
        }
        guard isAddress, inside.contains(":") else { throw .invalid("the brackets hold no IPv6 address") }
        return text.lowercased()
    }

    private static func asciiLabel(_ label: String) throws(Failure) -> String {
        let lowered = label.lowercased()
        guard !lowered.utf8.allSatisfy({ $0 < 0x80 }) else {
            for byte in lowered.utf8 {
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "-"), UInt8(ascii: "_"):
                    continue
                default: throw .invalid("\"\(Character(Unicode.Scalar(byte)))\" can't stand in a host name")
                }
            }
            return lowered
        }
        guard let encoded = punycode(lowered) else { throw .invalid("the label \"\(label)\" is too long") }
        return "xn--" + encoded
    }

    /// RFC 3492 §6.3. `nil` when a number overflows, which no label of 63 bytes reaches.
    static func punycode(_ label: String) -> String? {
        let scalars = label.unicodeScalars.map { Int($0.value) }
        var output: [UInt8] = scalars.filter { $0 < 0x80 }.map { UInt8($0) }
        let basicCount = output.count
        var handled = basicCount
        if basicCount > 0 { output.append(UInt8(ascii: "-")) }
        var code = 128
        var delta = 0
        var bias = 72
        while handled < scalars.count {
            guard let next = scalars.filter({ $0 >= code }).min() else { return nil }
            let (step, overflow) = (next - code).multipliedReportingOverflow(by: handled + 1)
            guard !overflow, delta <= Int(Int32.max) - min(step, Int(Int32.max)) else { return nil }
            delta += step
            code = next
            for scalar in scalars {
                if scalar < code { delta += 1 }
                guard scalar == code else { continue }
                var quotient = delta
                var position = 36
                while true {
                    let threshold = position <= bias ? 1 : position >= bias + 26 ? 26 : position - bias
                    if quotient < threshold { break }
                    output.append(digit(threshold + (quotient - threshold) % (36 - threshold)))
                    quotient = (quotient - threshold) / (36 - threshold)
                    position += 36
                }
                output.append(digit(quotient))
                bias = adapted(delta, count: handled + 1, isFirst: handled == basicCount)
                delta = 0
                handled += 1
            }
            delta += 1
            code += 1
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static func digit(_ value: Int) -> UInt8 {
        UInt8(value < 26 ? value + 0x61 : value - 26 + 0x30)
    }

    private static func adapted(_ delta: Int, count: Int, isFirst: Bool) -> Int {
        var delta = isFirst ? delta / 700 : delta / 2
        delta += delta / count
        var bias = 0
        while delta > 455 {
            delta /= 35
            bias += 36
        }
        return bias + 36 * delta / (delta + 38)
    }
}
