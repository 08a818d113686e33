internal import FoundationEssentials

/// Makes JSON Web Tokens (RFC 7519) in the compact form of RFC 7515.
public struct JWTSigner: Sendable {
    public let key: JWTKey
    private let header: String

    public init(_ key: JWTKey) {
        self.key = key
        // Written by hand so that the bytes are the same each time; the id is escaped like any JSON string.
        var text = "{\"alg\":\"\(key.algorithm.rawValue)\",\"typ\":\"JWT\""
        if let id = key.id, let quoted = try? JSONEncoder().encode(id) {
            text += ",\"kid\":" + String(decoding: quoted, as: UTF8.self)
        }
        header = Base64URL.encode(Array((text + "}").utf8))
    }

    /// A token with `claims` as they encode; `exp`, `iat` and the like are the caller's, in seconds since
    /// 1970.
    public func sign(_ claims: some Encodable) throws(CryptoError) -> String {
        let payload: Data
        do { payload = try JSONEncoder().encode(claims) } catch {
            throw .invalidInput("claims cannot be encoded: \(error)")
        }
        let input = header + "." + Base64URL.encode(Array(payload))
        return input + "." + Base64URL.encode(try key.sign(Array(input.utf8)))
    }
}
