internal import Interfaces
internal import OpenSSL

/// How the bytes of an encrypted object are stored (SSE-C).
///
///     salt (32 bytes)   block 0   tag (16)   block 1   tag   …   last block   tag
///
/// Each block holds 64 KiB of the object, the last one what is left, and is sealed by AES-256-GCM on its own, so a
/// range needs only the blocks that it touches. Blob and index record of an object never hold its key: every blob has
/// a key of its own, derived from the caller's by HKDF-SHA256 (RFC 5869) with the blob's random salt, so the block's
/// number can be the nonce without ever being used twice under one key. What is authenticated with a block is whether it
/// is the last: blocks that are swapped, repeated, cut off or taken from another blob don't open. (Which whole blob belongs
/// to which object, the index alone says; a copy has another name and the same bytes.)
struct BlobCipher: Sendable {
    static let saltByteCount = 32
    static let blockByteCount = 64 << 10
    private static let tagByteCount = AuthenticatedCipher.tagByteCount
    static let sealedBlockByteCount = blockByteCount + tagByteCount

    private let key: [UInt8]

    init(_ customerKey: R2CustomerKey, salt: [UInt8]) {
        let extracted = MessageAuthentication.hmac(customerKey.bytes, key: salt, .sha256)
        key = MessageAuthentication.hmac(Array("edge r2 blob".utf8) + [1], key: extracted, .sha256)
    }

    func seal(_ block: [UInt8], index: Int64, isLast: Bool) throws(OpenSSLError) -> [UInt8] {
        let sealed = try AuthenticatedCipher.seal(
            block, key: key, nonce: Self.nonce(index), authenticating: [isLast ? 1 : 0])
        return sealed.ciphertext + sealed.tag
    }

    /// - Throws: when it isn't the block that was sealed under this number.
    func open(_ sealed: [UInt8], index: Int64, isLast: Bool) throws(OpenSSLError) -> [UInt8] {
        guard sealed.count >= Self.tagByteCount else { throw .authenticationFailed }
        return try AuthenticatedCipher.open(
            Array(sealed.dropLast(Self.tagByteCount)), tag: Array(sealed.suffix(Self.tagByteCount)), key: key,
            nonce: Self.nonce(index), authenticating: [isLast ? 1 : 0])
    }

    private static func nonce(_ index: Int64) -> [UInt8] {
        [0, 0, 0, 0] + stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: index >> Int64($0)) }
    }

    // MARK: Places

    /// Where a block of a blob of `size` plain bytes lies in its file.
    static func place(ofBlock index: Int64, size: Int64) -> (offset: Int64, byteCount: Int, isLast: Bool) {
        let start = index * Int64(blockByteCount)
        let plain = min(Int64(blockByteCount), size - start)
        return (
            Int64(saltByteCount) + index * Int64(sealedBlockByteCount), Int(plain) + tagByteCount,
            start + plain == size
        )
    }

    /// What `size` plain bytes need.
    static func storedByteCount(of size: Int64) -> Int64 {
        let blocks = max(1, (size + Int64(blockByteCount) - 1) / Int64(blockByteCount))
        return Int64(saltByteCount) + size + blocks * Int64(tagByteCount)
    }

    // MARK: What is in memory as a whole

    static func seal(_ bytes: [UInt8], _ customerKey: R2CustomerKey) throws(OpenSSLError) -> [UInt8] {
        var sealer = BlobSealer(customerKey)
        return try sealer.update(bytes) + sealer.finish()
    }

    /// The plain bytes of `range` in a stored blob of `size` plain bytes.
    static func open(
        _ stored: [UInt8], _ customerKey: R2CustomerKey, size: Int64, range: Range<Int>
    ) throws(OpenSSLError) -> [UInt8] {
        if range.isEmpty { return [] }
        guard stored.count == storedByteCount(of: size) else { throw .authenticationFailed }
        let cipher = BlobCipher(customerKey, salt: Array(stored.prefix(saltByteCount)))
        var plain: [UInt8] = []
        let first = range.lowerBound / blockByteCount
        for index in first...((range.upperBound - 1) / blockByteCount) {
            let place = place(ofBlock: Int64(index), size: size)
            let sealed = Array(stored[Int(place.offset)..<(Int(place.offset) + place.byteCount)])
            plain += try cipher.open(sealed, index: Int64(index), isLast: place.isLast)
        }
        return Array(plain.dropFirst(range.lowerBound - first * blockByteCount).prefix(range.count))
    }
}

/// Encrypts a blob on its way to the disk, piece by piece. Holds back one block at most.
struct BlobSealer: Sendable {
    private let cipher: BlobCipher
    /// Until it is written.
    private var salt: [UInt8]
    private var pending: [UInt8] = []
    private var index: Int64 = 0

    init(_ customerKey: R2CustomerKey) {
        salt = SecureRandom.bytes(BlobCipher.saltByteCount)
        cipher = BlobCipher(customerKey, salt: salt)
    }

    /// What can be stored by now. A full block waits until it is known whether it is the last.
    mutating func update(_ piece: [UInt8]) throws(OpenSSLError) -> [UInt8] {
        var output = takeSalt()
        pending += piece
        var start = 0
        while pending.count - start > BlobCipher.blockByteCount {
            let end = start + BlobCipher.blockByteCount
            output += try cipher.seal(Array(pending[start..<end]), index: index, isLast: false)
            index += 1
            start = end
        }
        pending.removeFirst(start)
        return output
    }

    /// The last block; nothing may follow.
    mutating func finish() throws(OpenSSLError) -> [UInt8] {
        defer { pending = [] }
        return try takeSalt() + cipher.seal(pending, index: index, isLast: true)
    }

    private mutating func takeSalt() -> [UInt8] {
        defer { salt = [] }
        return salt
    }
}
