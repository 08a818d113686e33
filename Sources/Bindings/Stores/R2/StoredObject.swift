internal import Interfaces
internal import LMDB
internal import Wire

/// The index record of one object.
struct StoredObject: Equatable, Sendable {
    /// Where its bytes are.
    enum Location: UInt8, Sendable {
        /// In the index, under its version. An empty object has nothing there.
        case index = 0
        /// In the blob that has the version's name.
        case blob = 1
        /// In several blobs, listed in the index under its version.
        case pieces = 2
    }
    private static let format: UInt8 = 1
    /// With what stands behind `attributes`. Objects that need none of it are written as before.
    private static let extendedFormat: UInt8 = 2

    var version: Identifier
    var size: Int64
    var uploaded: Int64
    var location: Location
    /// Of the content; of an upload in parts, of the parts' digests.
    var md5: [UInt8]
    /// Zero for an object that was put as a whole, also after an upload in parts.
    var partCount: UInt32
    /// The checksum that the put or the upload in parts named, when it wasn't MD5.
    var supplied: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])?
    var checksumKind = R2Checksums.Kind.fullObject
    var attributes: R2Attributes
    /// Of the key that the bytes are encrypted with; `nil` for bytes in the clear.
    var ssecKeyMD5: [UInt8]?

    static func == (left: Self, right: Self) -> Bool { left.encoded() == right.encoded() }

    var etag: String {
        let digest = R2Hex.encode(md5)
        return partCount == 0 ? digest : "\(digest)-\(partCount)"
    }

    /// What its content in the index takes.
    var storedByteCount: Int64 { Self.storedByteCount(of: size, isEncrypted: ssecKeyMD5 != nil) }

    /// What a blob or a content of `size` plain bytes takes.
    static func storedByteCount(of size: Int64, isEncrypted: Bool) -> Int64 {
        isEncrypted && size > 0 ? BlobCipher.storedByteCount(of: size) : size
    }

    /// As a handler sees it.
    func object(key: String, range: R2ResolvedRange? = nil) -> R2Object {
        var checksums = R2Checksums()
        if partCount == 0 { checksums.md5 = md5 }
        if let supplied {
            checksums[supplied.algorithm] = supplied.bytes
            checksums.kind = checksumKind
        }
        return R2Object(
            key: key, version: version.hexadecimal, size: size, etag: etag, uploaded: uploaded,
            httpMetadata: attributes.httpMetadata, customMetadata: attributes.customMetadata, range: range,
            checksums: checksums, storageClass: attributes.storageClass,
            ssecKeyMd5: ssecKeyMD5.map { R2Hex.encode($0) })
    }

    func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 128)
        let isExtended = ssecKeyMD5 != nil || checksumKind != .fullObject
        encoder.put(isExtended ? Self.extendedFormat : Self.format)
        encoder.put(version.high)
        encoder.put(version.low)
        encoder.put(size)
        encoder.put(uploaded)
        encoder.put(location.rawValue)
        encoder.put(md5)
        encoder.put(partCount)
        encoder.put(supplied) { encoder, supplied in
            encoder.put(supplied.algorithm.rawValue)
            encoder.put(supplied.bytes)
        }
        attributes.encode(into: &encoder)
        if isExtended {
            encoder.put(ssecKeyMD5)
            encoder.put(checksumKind.rawValue)
        }
        return encoder.bytes
    }

    init(
        version: Identifier, size: Int64, uploaded: Int64, location: Location, md5: [UInt8],
        partCount: UInt32 = 0, supplied: (algorithm: R2Checksum.Algorithm, bytes: [UInt8])? = nil,
        checksumKind: R2Checksums.Kind = .fullObject, attributes: R2Attributes, ssecKeyMD5: [UInt8]? = nil
    ) {
        self.checksumKind = checksumKind
        self.ssecKeyMD5 = ssecKeyMD5
        self.version = version
        self.size = size
        self.uploaded = uploaded
        self.location = location
        self.md5 = md5
        self.partCount = partCount
        self.supplied = supplied
        self.attributes = attributes
    }

    /// - Throws: `MDB_CORRUPTED` for what no store of this format wrote.
    init(record: [UInt8]) throws(LMDBError) {
        do throws(WireError) {
            var decoder = WireDecoder(record)
            let format = try decoder.takeUInt8()
            guard format == Self.format || format == Self.extendedFormat else {
                throw .invalidValue("format", offset: 0)
            }
            version = Identifier(high: try decoder.takeUInt64(), low: try decoder.takeUInt64())
            size = try decoder.takeInt64()
            uploaded = try decoder.takeInt64()
            guard let location = Location(rawValue: try decoder.takeUInt8()) else {
                throw .invalidValue("location", offset: decoder.offset)
            }
            self.location = location
            md5 = try decoder.takeBytes()
            partCount = try decoder.takeUInt32()
            supplied = try decoder.takeOptional { decoder throws(WireError) in
                (try R2Checksum.Algorithm(decoding: &decoder), try decoder.takeBytes())
            }
            attributes = try R2Attributes(decoding: &decoder)
            if format == Self.extendedFormat {
                ssecKeyMD5 = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeBytes() }
                guard let kind = R2Checksums.Kind(rawValue: try decoder.takeUInt8()) else {
                    throw .invalidValue("checksum kind", offset: decoder.offset)
                }
                checksumKind = kind
            }
        } catch {
            throw LMDBError("decode", .corrupted, on: "object record: \(error)")
        }
    }
}

/// One blob of an object that has several.
struct StoredPiece: Equatable, Sendable {
    var blob: Identifier
    var size: Int64

    static func encode(_ pieces: [StoredPiece]) -> [UInt8] {
        var encoder = WireEncoder(capacity: 4 + pieces.count * 24)
        encoder.put(list: pieces) { encoder, piece in
            encoder.put(piece.blob.high)
            encoder.put(piece.blob.low)
            encoder.put(piece.size)
        }
        return encoder.bytes
    }

    static func decode(_ record: [UInt8]) throws(LMDBError) -> [StoredPiece] {
        do throws(WireError) {
            var decoder = WireDecoder(record)
            return try decoder.takeList { decoder throws(WireError) in
                StoredPiece(
                    blob: Identifier(high: try decoder.takeUInt64(), low: try decoder.takeUInt64()),
                    size: try decoder.takeInt64())
            }
        } catch {
            throw LMDBError("decode", .corrupted, on: "list of pieces: \(error)")
        }
    }
}

/// The index record of an upload in parts.
struct StoredUpload: Sendable {
    var bucket: UInt32
    var key: String
    /// Milliseconds since 1970.
    var created: Int64
    var attributes: R2Attributes
    /// Of the key that all parts are encrypted with. This and the next are missing in the records of older nodes.
    var ssecKeyMD5: [UInt8]?
    /// Taken of each part.
    var checksumAlgorithm: R2Checksum.Algorithm?

    func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 128)
        encoder.put(bucket)
        encoder.put(key)
        encoder.put(created)
        attributes.encode(into: &encoder)
        encoder.put(ssecKeyMD5)
        encoder.put(checksumAlgorithm) { $0.put($1.rawValue) }
        return encoder.bytes
    }

    init(
        bucket: UInt32, key: String, created: Int64, attributes: R2Attributes, ssecKeyMD5: [UInt8]? = nil,
        checksumAlgorithm: R2Checksum.Algorithm? = nil
    ) {
        self.ssecKeyMD5 = ssecKeyMD5
        self.checksumAlgorithm = checksumAlgorithm
        self.bucket = bucket
        self.key = key
        self.created = created
        self.attributes = attributes
    }

    init(record: [UInt8]) throws(LMDBError) {
        do throws(WireError) {
            var decoder = WireDecoder(record)
            bucket = try decoder.takeUInt32()
            key = try decoder.takeString()
            created = try decoder.takeInt64()
            attributes = try R2Attributes(decoding: &decoder)
            guard decoder.remainingByteCount > 0 else { return }
            ssecKeyMD5 = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeBytes() }
            checksumAlgorithm = try decoder.takeOptional { decoder throws(WireError) in
                try R2Checksum.Algorithm(decoding: &decoder)
            }
        } catch {
            throw LMDBError("decode", .corrupted, on: "upload record: \(error)")
        }
    }
}

/// The index record of one part of an upload.
struct StoredPart: Equatable, Sendable {
    var blob: Identifier
    var size: Int64
    var md5: [UInt8]
    /// Of the upload's algorithm. Missing in the records of older nodes.
    var checksum: [UInt8]?

    func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 48)
        encoder.put(blob.high)
        encoder.put(blob.low)
        encoder.put(size)
        encoder.put(md5)
        encoder.put(checksum)
        return encoder.bytes
    }

    init(blob: Identifier, size: Int64, md5: [UInt8], checksum: [UInt8]? = nil) {
        self.checksum = checksum
        self.blob = blob
        self.size = size
        self.md5 = md5
    }

    init(record: [UInt8]) throws(LMDBError) {
        do throws(WireError) {
            var decoder = WireDecoder(record)
            blob = Identifier(high: try decoder.takeUInt64(), low: try decoder.takeUInt64())
            size = try decoder.takeInt64()
            md5 = try decoder.takeBytes()
            guard decoder.remainingByteCount > 0 else { return }
            checksum = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeBytes() }
        } catch {
            throw LMDBError("decode", .corrupted, on: "part record: \(error)")
        }
    }
}
