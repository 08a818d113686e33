/// A host that a worker may reach with `fetch`: `api.stripe.com`, `*.example.com`, `*`, each with an optional port.
/// Without a port, the ports 80 and 443 are meant.
package struct OutboundRule: Hashable, Sendable, CustomStringConvertible {
    private let text: String
    /// Lower case, without `*`.
    private let host: String
    private let isSuffix: Bool
    private let port: UInt16?

    package init?(_ text: String) {
        var rest = text.lowercased()[...]
        var port: UInt16?
        let isBracketed = rest.hasPrefix("[")
        if let colon = rest.lastIndex(of: ":"), !isBracketed || rest[..<colon].hasSuffix("]") {
            let digits = rest[rest.index(after: colon)...]
            guard (1...5).contains(digits.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = UInt16(digits), number > 0
            else { return nil }
            port = number
            rest = rest[..<colon]
        }
        if isBracketed {
            guard rest.hasSuffix("]"), IPAddress(String(rest.dropFirst().dropLast())) != nil else {
                return nil
            }
            isSuffix = false
        } else {
            isSuffix = rest.hasPrefix("*")
            if isSuffix { rest = rest.dropFirst() }
            guard isSuffix || !rest.isEmpty,
                rest.isEmpty || !isSuffix || (rest.hasPrefix(".") && rest.count > 1)
            else {
                return nil
            }
            let labels = (isSuffix ? rest.dropFirst() : rest).split(
                separator: ".", omittingEmptySubsequences: false)
            guard
                rest.isEmpty
                    || labels.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(TOMLParser.isBareKeyByte) })
            else {
                return nil
            }
        }
        self.text = text
        host = String(rest)
        self.port = port
    }

    package var description: String { text }

    /// - Parameter host: As in a URL: lower case, an IPv6 address in brackets.
    package func allows(host: String, port: UInt16) -> Bool {
        guard self.port.map({ $0 == port }) ?? (port == 80 || port == 443) else { return false }
        return isSuffix ? host.hasSuffix(self.host) : host == self.host
    }
}
