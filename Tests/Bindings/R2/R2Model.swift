import Interfaces
import OpenSSL
import StoresR2

/// What a bucket must hold, kept in memory in the most obvious way.
struct R2Model: Equatable {
    struct Object: Equatable {
        var content: [UInt8]
        var etag: String
        var metadata: [String: String]
        var contentType: String?
        var storageClass = R2StorageClass.standard
        var key: R2CustomerKey?
        /// How many files it has.
        var blobCount: Int
    }
    struct Upload: Equatable {
        var key: String
        var parts: [Int: [UInt8]] = [:]
        var metadata: [String: String]
        var ssecKey: R2CustomerKey?
    }
    /// By the bytes of their keys, which is the order of lists.
    var objects: [[UInt8]: Object] = [:]
    var uploads: [String: Upload] = [:]

    static func md5(_ bytes: [UInt8]) -> [UInt8] { Digest.hash(bytes, with: .md5) }
    static func text(_ key: [UInt8]) -> String { String(decoding: key, as: UTF8.self) }

    /// How many files must be left when nothing is being removed any more.
    var blobCount: Int {
        objects.values.reduce(0) { $0 + $1.blobCount } + uploads.values.reduce(0) { $0 + $1.parts.count }
    }

    mutating func put(
        _ key: String, _ content: [UInt8], metadata: [String: String] = [:], contentType: String? = nil,
        storageClass: R2StorageClass = .standard, ssecKey: R2CustomerKey? = nil
    ) {
        objects[Array(key.utf8)] = Object(
            content: content, etag: R2Hex.encode(Self.md5(content)), metadata: metadata, contentType: contentType,
            storageClass: storageClass, key: ssecKey, blobCount: content.count > 65_536 ? 1 : 0)
    }

    /// The code of the refusal; `nil` when the object was made.
    mutating func complete(_ id: String, _ parts: [R2UploadedPart]) -> Int? {
        guard let upload = uploads[id] else { return 10024 }
        guard !parts.isEmpty, Set(parts.map(\.partNumber)).count == parts.count else { return 10025 }
        for part in parts {
            guard let bytes = upload.parts[part.partNumber], R2Hex.encode(Self.md5(bytes)) == part.etag else {
                return 10025
            }
        }
        func size(_ part: R2UploadedPart) -> Int { upload.parts[part.partNumber]?.count ?? 0 }
        if parts.dropLast().contains(where: { size($0) < 5 << 20 }) { return 10011 }
        let sorted = parts.sorted { $0.partNumber < $1.partNumber }
        let sizes = sorted.map(size)
        if let last = sizes.last, Set(sizes.dropLast()).count > 1 || sizes.contains(where: { $0 < last }) {
            return 10048
        }
        let contents = sorted.compactMap { upload.parts[$0.partNumber] }
        objects[Array(upload.key.utf8)] = Object(
            content: contents.flatMap(\.self),
            etag: R2Hex.encode(Self.md5(contents.flatMap { Self.md5($0) })) + "-\(parts.count)",
            metadata: upload.metadata, key: upload.ssecKey, blobCount: parts.count)
        uploads[id] = nil
        return nil
    }

    /// The whole list, in pages of one prefix, as texts.
    func list(prefix: String, delimiter: String) -> [String] {
        var texts: [String] = []
        for key in objects.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) where key.starts(with: prefix.utf8) {
            let rest = Self.text(Array(key.dropFirst(prefix.utf8.count)))
            var text = Self.text(key)
            if !delimiter.isEmpty, rest.contains(delimiter) {
                text = prefix + rest.prefix(while: { String($0) != delimiter }) + delimiter + "…"
            }
            if texts.last.map({ !$0.utf8.elementsEqual(text.utf8) }) ?? true { texts.append(text) }
        }
        return texts
    }

    /// A line for each thing that can be seen, to be compared with those of a real bucket.
    var lines: [String] {
        objects.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { key, object in
            Self.line(
                Self.text(key), Int64(object.content.count), object.etag, object.metadata, object.contentType,
                object.storageClass, object.key.map { R2Hex.encode(Self.md5($0.bytes)) })
        }
            + uploads.sorted { $0.key < $1.key }.map { id, upload in
                "\(id) \(upload.key) "
                    + upload.parts.sorted { $0.key < $1.key }.map {
                        "\($0.key):\($0.value.count):\(R2Hex.encode(Self.md5($0.value)))"
                    }.joined(separator: ",")
            }
    }

    static func lines(of bucket: R2Bucket) async throws -> [String] {
        var lines: [String] = []
        var cursor: String?
        repeat {
            let page = try await bucket.list(limit: 7, cursor: cursor, include: [.httpMetadata, .customMetadata])
            lines += page.objects.map {
                line(
                    $0.key, $0.size, $0.etag, $0.customMetadata, $0.httpMetadata.contentType, $0.storageClass,
                    $0.ssecKeyMd5)
            }
            cursor = page.cursor
        } while cursor != nil
        var uploads: [String] = []
        var after: R2Uploads.Marker?
        repeat {
            let page = try await bucket.listMultipartUploads(limit: 3, after: after)
            for upload in page.uploads {
                let parts = try await bucket.resumeMultipartUpload(upload.key, uploadId: upload.uploadId).listParts().parts
                uploads.append(
                    "\(upload.uploadId) \(upload.key) "
                        + parts.map { "\($0.partNumber):\($0.size):\($0.etag)" }.joined(separator: ","))
            }
            after = page.next
        } while after != nil
        return lines + uploads.sorted()
    }

    private static func line(
        _ key: String, _ size: Int64, _ etag: String, _ metadata: [String: String], _ contentType: String?,
        _ storageClass: R2StorageClass, _ keyMD5: String?
    ) -> String {
        let pairs = metadata.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        return "\(key) \(size) \(etag) \(pairs) \(contentType ?? "-") \(storageClass.name) \(keyMD5 ?? "-")"
    }
}
