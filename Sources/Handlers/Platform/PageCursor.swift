internal import WorkersCrypto

/// The place behind the last item of a page, in lists ordered by time and id, both descending.
///
/// Opaque to clients and bound to its list: `listing` names filters and owner, and a cursor of another
/// listing is refused. It holds nothing secret and grants nothing, so it is checked and not signed.
package struct PageCursor: Equatable, Sendable {
    private static let version: UInt8 = 1
    private static let listingByteCount = 8

    /// Milliseconds since 1970.
    package var time: Int64
    package var id: String

    package init(time: Int64, id: String) {
        self.time = time
        self.id = id
    }

    /// version (1) ‖ digest of the listing (8) ‖ time (8, big-endian) ‖ id, in base64url.
    package func text(listing: String) -> String {
        let timeBytes = (0..<8).map { UInt8(truncatingIfNeeded: time >> (56 - 8 * $0)) }
        return Base64URL.encode([Self.version] + Self.digest(listing) + timeBytes + Array(id.utf8))
    }

    /// - Throws: 400 `invalid_cursor` for anything that `text` didn't make for the same listing.
    package init(_ text: String, listing: String) throws(APIError) {
        let headCount = 1 + Self.listingByteCount + 8
        guard text.utf8.count <= 256, let bytes = Base64URL.decode(text), bytes.count > headCount,
            bytes[0] == Self.version, Array(bytes[1..<(1 + Self.listingByteCount)]) == Self.digest(listing)
        else { throw .badRequest("the cursor does not belong to this list", code: "invalid_cursor") }
        time = bytes[(1 + Self.listingByteCount)..<headCount].reduce(Int64(0)) { $0 << 8 | Int64($1) }
        guard time >= 0, let id = Identifier(String(decoding: bytes[headCount...], as: UTF8.self)) else {
            throw .badRequest("the cursor does not belong to this list", code: "invalid_cursor")
        }
        self.id = id.text
    }

    private static func digest(_ listing: String) -> [UInt8] {
        Array(HashFunction.sha256.hash(listing).prefix(listingByteCount))
    }
}
