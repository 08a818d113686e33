/// The host parser (https://url.spec.whatwg.org/#host-parsing): each gives the host as it is serialised.
enum URLHost {
    static func parse(_ input: ArraySlice<UInt8>, isSpecial: Bool) -> [UInt8]? {
        if input.first == 0x5B {
            guard input.last == 0x5D else { return nil }
            let inner = Array(input.dropFirst().dropLast())
            // SAFETY: the bytes of an array of plain bytes are initialised, and the span lives for this call.
            guard let address = unsafe IPv6Address(inner.span.bytes) else { return nil }
            var text: [UInt8] = [0x5B]
            address.serialize(into: &text)
            text.append(0x5D)
            return text
        }
        guard isSpecial else {
            guard !input.contains(where: { forbiddenInHost.contains($0) }) else { return nil }
            var text: [UInt8] = []
            text.append(contentsOf: input, encoding: .c0Control)
            return text
        }
        guard let domain = Punycode.domainToASCII(PercentEncoding.decode(input)), !domain.isEmpty,
            !domain.contains(where: { forbiddenInDomain.contains($0) })
        else { return nil }
        guard endsInNumber(domain) else { return domain }
        return parseIPv4(domain).map(serializeIPv4)
    }

    // NUL, HTAB, LF, CR, space and #/:<>?@[\]^| ; in domains all control characters, % and DEL as well.
    private static let forbiddenInHost = ASCIISet(low: 0xD400_8009_0000_2601, high: 0x1000_0000_7800_0001)
    private static let forbiddenInDomain = ASCIISet(low: 0xD400_8029_FFFF_FFFF, high: 0x9000_0000_7800_0001)

    private static func labels(_ domain: [UInt8]) -> [ArraySlice<UInt8>] {
        var labels = domain.split(separator: 0x2E, omittingEmptySubsequences: false)
        if labels.count > 1, labels.last?.isEmpty == true { labels.removeLast() }
        return labels
    }

    private static func endsInNumber(_ domain: [UInt8]) -> Bool {
        guard let last = labels(domain).last, !last.isEmpty else { return false }
        return last.allSatisfy(\.isDigit) || parseIPv4Number(last) != nil
    }

    private static func parseIPv4(_ domain: [UInt8]) -> UInt32? {
        let parts = labels(domain)
        guard parts.count <= 4 else { return nil }
        var address: UInt64 = 0
        for (index, part) in parts.enumerated() {
            guard let number = parseIPv4Number(part) else { return nil }
            if index < parts.count - 1 {
                guard number <= 255 else { return nil }
                address = address << 8 | number
            } else {
                let bits = UInt64(8 * (5 - parts.count))
                guard number < 1 << bits else { return nil }
                address = address << bits | number
            }
        }
        return UInt32(address)
    }

    /// Decimal, octal behind `0`, hexadecimal behind `0x`; saturates far above any address.
    private static func parseIPv4Number(_ text: ArraySlice<UInt8>) -> UInt64? {
        var digits = text
        var radix: UInt64 = 10
        guard !digits.isEmpty else { return nil }
        if digits.count >= 2, digits.first == 0x30 {
            digits.removeFirst()
            radix = 8
            if let marker = digits.first, marker | 0x20 == 0x78 {
                digits.removeFirst()
                radix = 16
            }
        }
        var value: UInt64 = 0
        for byte in digits {
            guard let digit = byte.hexDigitValue, UInt64(digit) < radix else { return nil }
            value = min(value * radix + UInt64(digit), 1 << 40)
        }
        return value
    }

    private static func serializeIPv4(_ address: UInt32) -> [UInt8] {
        Array([24, 16, 8, 0].map { String(address >> UInt32($0) & 0xFF) }.joined(separator: ".").utf8)
    }
}
