internal import CTLS
internal import Synchronization
package import System

/// The keys of session tickets (RFC 8446 §4.6.1, RFC 5077). All reactors and all certificates of a node use the same, and a
/// reload keeps them, so that a client resumes its session wherever it comes in. They live in memory alone and change with the
/// hours: who takes a key later can't read older sessions.
package final class TLSTicketKeys: Sendable {
    /// New tickets get a key for as long as this.
    static let rotation = Duration.seconds(3600)
    /// Keys that are kept, the one in use included: a ticket is good for one to two hours.
    private static let keysMax = 3
    /// How long clients are told that a ticket is good.
    static let lifetimeSeconds = 7200

    private struct Key {
        let name: [UInt8]
        let cipher: [UInt8]
        let authentication: [UInt8]
        let made: Instant
    }

    private let clock: any NodeClock
    /// Newest first.
    private let keys = Mutex<[Key]>([])

    package init(clock: any NodeClock) { self.clock = clock }

    /// The key that tickets are made with.
    private func current() -> Key? {
        let now = clock.now()
        return keys.withLock { keys in
            if let newest = keys.first, now - newest.made < Self.rotation { return newest }
            guard let secret = Self.random(80) else { return keys.first }
            let key = Key(
                name: Array(secret[..<16]), cipher: Array(secret[16..<48]), authentication: Array(secret[48...]), made: now)
            keys.insert(key, at: 0)
            if keys.count > Self.keysMax { keys.removeLast() }
            return key
        }
    }

    private func find(_ name: UnsafeBufferPointer<UInt8>) -> (key: Key, isCurrent: Bool)? {
        let now = clock.now()
        return keys.withLock { keys in
            guard let index = keys.firstIndex(where: { unsafe $0.name.elementsEqual(name) }) else { return nil }
            let age = now - keys[index].made
            guard age < Self.rotation * Self.keysMax else { return nil }
            return (keys[index], index == 0 && age < Self.rotation)
        }
    }

    private static func random(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        // SAFETY: the library fills the `count` bytes of the array.
        return unsafe RAND_priv_bytes(&bytes, Int32(count)) == 1 ? bytes : nil
    }

    /// What libssl asks before it seals or opens a ticket (SSL_CTX_set_tlsext_ticket_key_evp_cb(3)).
    ///
    /// - Returns: 1 to go on, 2 to go on and give the client a new ticket, 0 without a ticket, −1 on failure.
    func prepare(
        name: UnsafeMutablePointer<UInt8>, iv: UnsafeMutablePointer<UInt8>, cipher: OpaquePointer,
        authentication: OpaquePointer, isSealing: Bool
    ) -> Int32 {
        let key: Key
        var isCurrent = true
        if isSealing {
            guard let current = current(), unsafe RAND_bytes(iv, 16) == 1 else { return -1 }
            key = current
            // SAFETY: the library's name has 16 bytes.
            for (index, byte) in key.name.enumerated() { unsafe name[index] = byte }
        } else {
            // SAFETY: as above.
            guard let found = unsafe find(UnsafeBufferPointer(start: name, count: 16)) else { return 0 }
            (key, isCurrent) = found
        }
        guard unsafe edge_tls_set_ticket_key(authentication, key.authentication, key.authentication.count) == 1,
            unsafe EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipher, iv, isSealing ? 1 : 0) == 1
        else { return -1 }
        return isSealing || isCurrent ? 1 : 2
    }
}
