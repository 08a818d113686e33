/// Domain names outside ASCII, as DNS has them (RFC 3492, UTS #46 in outline: lower case, full-width forms
/// and dots mapped, ignorable characters dropped). Names are not normalised to NFC.
enum Punycode {
    /// `nil` when a name can't be written.
    static func domainToASCII(_ domain: [UInt8]) -> [UInt8]? {
        if domain.allSatisfy({ $0 < 0x80 }) { return domain.map(\.asciiLowercased) }
        guard let text = String(validating: domain, as: UTF8.self) else { return nil }
        var labels: [[Unicode.Scalar]] = [[]]
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x2E, 0x3002, 0xFF0E, 0xFF61: labels.append([])
            case 0xAD, 0x200B, 0x2060, 0xFEFF, 0xFE00...0xFE0F: break
            case 0x200C, 0x200D, 0xFFFD: return nil
            case 0xFF01...0xFF5E:
                labels[labels.count - 1] += lowercased(Unicode.Scalar(scalar.value - 0xFEE0) ?? scalar)
            default: labels[labels.count - 1] += lowercased(scalar)
            }
        }
        var ascii: [UInt8] = []
        for (index, label) in labels.enumerated() {
            if index > 0 { ascii.append(0x2E) }
            if label.allSatisfy(\.isASCII) {
                for scalar in label { ascii.append(UInt8(scalar.value)) }
            } else {
                guard let encoded = encode(label) else { return nil }
                ascii += "xn--".utf8
                ascii += encoded
            }
        }
        return ascii
    }

    private static func lowercased(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        Array(scalar.properties.lowercaseMapping.unicodeScalars)
    }

    /// RFC 3492 §6.3.
    static func encode(_ label: [Unicode.Scalar]) -> [UInt8]? {
        guard label.count <= 63 else { return nil }
        var output: [UInt8] = label.filter(\.isASCII).map { UInt8($0.value) }
        let basicCount = output.count
        if basicCount > 0 { output.append(0x2D) }
        var codePoint: UInt32 = 128
        var delta = 0
        var bias = 72
        var handled = basicCount
        while handled < label.count {
            guard let next = label.lazy.map(\.value).filter({ $0 >= codePoint }).min() else { return nil }
            delta += Int(next - codePoint) * (handled + 1)
            codePoint = next
            for scalar in label {
                if scalar.value < codePoint { delta += 1 }
                guard scalar.value == codePoint else { continue }
                var quotient = delta
                var position = 36
                while true {
                    let threshold = position <= bias ? 1 : position >= bias + 26 ? 26 : position - bias
                    guard quotient >= threshold else { break }
                    output.append(digit(threshold + (quotient - threshold) % (36 - threshold)))
                    quotient = (quotient - threshold) / (36 - threshold)
                    position += 36
                }
                output.append(digit(quotient))
                bias = adapt(delta, handled + 1, isFirst: handled == basicCount)
                delta = 0
                handled += 1
            }
            delta += 1
            codePoint += 1
        }
        return output
    }

    private static func digit(_ value: Int) -> UInt8 { UInt8(value < 26 ? value + 0x61 : value + 0x16) }

    private static func adapt(_ delta: Int, _ count: Int, isFirst: Bool) -> Int {
        var delta = isFirst ? delta / 700 : delta / 2
        delta += delta / count
        var position = 0
        while delta > 455 {
            delta /= 35
            position += 36
        }
        return position + 36 * delta / (delta + 38)
    }
}
