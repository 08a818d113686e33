import WorkersCrypto

/// A refresh token: 32 random bytes for the client, their digest for us.
struct RefreshToken: Sendable {
    let text: String
    let hash: String

    init() { self.init(unchecked: SecureBytes.token()) }

    init?(_ text: String) {
        guard text.utf8.count == 43, Base64URL.decode(text) != nil else { return nil }
        self.init(unchecked: text)
    }

    private init(unchecked text: String) {
        self.text = text
        // 256 random bits need no salt and no slow hash.
        hash = Base64URL.encode(HashFunction.sha256.hash(text))
    }
}
