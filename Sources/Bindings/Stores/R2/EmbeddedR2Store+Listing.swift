package import Interfaces
internal import LMDB

extension EmbeddedR2Store {
    /// A page is one message, and a message has a limit: pages of much metadata end early, as the product's
    /// do.
    private static let pageBytesMax = 3 << 20

    package func list(_ request: R2ListMessage, in bucket: String) async throws(R2Failure) -> R2Objects {
        guard (1...Int64(R2Limits.listedMax)).contains(request.limit) else { throw .invalidMaxKeys }
        var bound = Array(request.prefix.utf8)
        if let cursor = request.cursor {
            guard let place = R2Hex.decode(cursor) else { throw .invalidCursor }
            bound = Self.later(bound, place)
        }
        if let startAfter = request.startAfter { bound = Self.later(bound, Array(startAfter.utf8) + [0]) }
        let start = bound
        return try await threads.run { () throws(R2Failure) in
            let page = try self.read("list") { transaction throws(LMDBError) in
                try self.page(request, from: start, bucket, transaction)
            }
            guard let page else { throw R2Failure.noSuchBucket }
            return page
        }
    }

    private static func later(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] {
        left.lexicographicallyPrecedes(right) ? right : left
    }

    private func page(
        _ request: R2ListMessage, from bound: [UInt8], _ bucket: String,
        _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> R2Objects? {
        guard let bucket = try index.bucket(bucket, transaction) else { return nil }
        let prefix = Array(request.prefix.utf8)
        let delimiter = Array(request.delimiter.utf8)
        var page = R2Objects()
        var byteCount = 0
        try index.scan(bucket: bucket, from: bound, transaction) { key, record throws(LMDBError) in
            guard key.starts(with: prefix) else { return .stop }
            let count = page.objects.count + page.delimitedPrefixes.count
            guard count < Int(request.limit), byteCount < Self.pageBytesMax else {
                page.cursor = R2Hex.encode(key)  // Inclusive: the next page begins right here.
                return .stop
            }
            if let end = Self.end(of: delimiter, in: key, behind: prefix.count) {
                // All keys with this prefix are folded into it: go on behind the last one that could exist.
                let folded = Array(key[..<end])
                page.delimitedPrefixes.append(String(decoding: folded, as: UTF8.self))
                byteCount += folded.count + 4
                return Self.successor(of: folded).map { .seek($0) } ?? .stop
            }
            var object = try StoredObject(record: record)
            if !request.include.contains(.httpMetadata) { object.attributes.httpMetadata = R2HTTPMetadata() }
            if !request.include.contains(.customMetadata) { object.attributes.customMetadata = [:] }
            let listed = object.object(key: String(decoding: key, as: UTF8.self))
            byteCount += key.count + 256 + (request.include.isEmpty ? 0 : record.count)
            page.objects.append(listed)
            return .next
        }
        return page
    }

    /// Where the first `delimiter` behind the prefix ends; `nil` without one. An empty one is none.
    static func end(of delimiter: [UInt8], in key: ArraySlice<UInt8>, behind prefixCount: Int) -> Int? {
        guard let first = delimiter.first else { return nil }
        var rest = key.dropFirst(prefixCount)
        while let start = rest.firstIndex(of: first) {
            rest = rest[start...]
            if rest.starts(with: delimiter) { return start + delimiter.count }
            rest = rest.dropFirst()
        }
        return nil
    }

    /// The smallest bytes greater than everything that begins with `prefix`; `nil` when nothing is.
    static func successor(of prefix: [UInt8]) -> [UInt8]? {
        var bytes = prefix
        while let last = bytes.popLast() {
            if last < 0xFF { return bytes + [last + 1] }
        }
        return nil
    }
}
