internal import System

/// The values of versions' secrets: sealed rows of the tenant's secret store, each under a reference of its own. A version
/// names references, so one that keeps a secret of the version before shares its row, and a changed value is another row:
/// versions stay as they were made.
package struct VersionSecrets: Sendable {
    private let store: SecretStore

    package init(_ store: SecretStore) { self.store = store }

    /// Stores a value. Durable when it returns; blocks.
    func seal(_ name: String, _ value: String, of worker: String, at time: UnixTime) throws -> VersionSnapshot.Secret {
        let secret = VersionSnapshot.Secret(name: name, reference: RandomID.hex())
        try store.put(name, of: Self.owner(worker, secret.reference), value: value, at: time)
        return secret
    }

    func value(_ secret: VersionSnapshot.Secret, of worker: String) throws -> String? {
        try store.secret(secret.name, of: Self.owner(worker, secret.reference))
    }

    func delete(_ secret: VersionSnapshot.Secret, of worker: String) throws {
        _ = try store.delete(secret.name, of: Self.owner(worker, secret.reference))
    }

    /// No worker's name has the sign between the two.
    private static func owner(_ worker: String, _ reference: String) -> String { "\(worker)@\(reference)" }
}

/// Identifiers that nobody can guess.
package enum RandomID {
    /// A UUID of random bits (RFC 9562 §5.4).
    package static func uuid() -> String {
        var bytes = SystemRandomNumberGenerator.bytes(16)
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        let text = Array(Hexadecimal.text(bytes))
        return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(text[$0]) }.joined(separator: "-")
    }

    /// 32 hexadecimal digits.
    package static func hex() -> String { Hexadecimal.text(SystemRandomNumberGenerator.bytes(16)) }

    /// Of a namespace of durable objects: 32 bytes.
    static func key() -> [UInt8] { SystemRandomNumberGenerator.bytes(32) }
}

extension SystemRandomNumberGenerator {
    fileprivate static func bytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }
}
