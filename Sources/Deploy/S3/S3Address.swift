/// What a request is about: by its path (`/BUCKET/KEY`), or by its host for the bucket (`BUCKET.DOMAIN`). An account may stand
/// in the host too: `ACCOUNT.DOMAIN`, `BUCKET.ACCOUNT.DOMAIN`.
struct S3Address: Equatable, Sendable {
    /// 32 hexadecimal digits.
    var account: String?
    var bucket: String?
    var key: String?
    /// Whether the bucket stands in the host.
    var isVirtual = false

    /// - Parameters:
    ///   - path: As it was sent, percent-encoded.
    ///   - host: Without its port.
    ///   - domains: Names that buckets stand before.
    init(path: String, host: String, domains: [String]) throws(S3Error) {
        let host = host.lowercased()
        for domain in domains where host.hasSuffix("." + domain) {
            let labels = host.dropLast(domain.utf8.count + 1).split(separator: ".", omittingEmptySubsequences: false)
            var rest = labels[...]
            if let last = rest.last, Self.isAccount(last) {
                account = String(last)
                rest = rest.dropLast()
            }
            if !rest.isEmpty {
                bucket = rest.joined(separator: ".")
                isVirtual = true
            }
            break
        }
        var segments = path.utf8.dropFirst()[...]
        if !isVirtual {
            let name = segments.prefix { $0 != UInt8(ascii: "/") }
            segments = segments.dropFirst(name.count + 1)
            bucket = name.isEmpty ? nil : try Self.text(name)
        }
        key = segments.isEmpty ? nil : try Self.text(segments)
        guard bucket != nil || key == nil else { throw .invalidBucketName }
    }

    private static func isAccount(_ label: Substring) -> Bool {
        label.utf8.count == 32 && label.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private static func text(_ encoded: some Collection<UInt8>) throws(S3Error) -> String {
        let bytes = CanonicalRequest.decode(encoded, plus: UInt8(ascii: "+"))
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw S3Error("InvalidURI", 400, "Couldn't parse the specified URI.")
        }
        return text
    }
}
