internal import Interfaces

/// The store's checks, in the product's order and words (spec: kv, section 3). REST and bindings share them.
enum KVChecks {
    /// What a write stores under must be UTF-8: `KeySpace` keeps its own records behind all of it.
    static func check(writtenKey key: [UInt8]) throws(KVError) {
        try check(key: key)
        do { _ = try UTF8Span(validating: key.span) } catch {
            throw .refused(status: 400, text: "Key names must be valid UTF-8")
        }
    }

    static func check(key: [UInt8]) throws(KVError) {
        if key.isEmpty { throw .refused(status: 400, text: "Key names must not be empty") }
        if key.count <= 2, key.allSatisfy({ $0 == UInt8(ascii: ".") }) {
            let name = String(decoding: key, as: UTF8.self)
            throw .refused(status: 400, text: "Illegal key name \"\(name)\". Please use a different name.")
        }
        try checkLength(key)
    }

    static func checkLength(_ key: [UInt8]) throws(KVError) {
        guard key.count <= KVLimits.keyByteCountMax else {
            throw .refused(
                status: 414,
                text:
                    "UTF-8 encoded length of \(key.count) exceeds key length limit of \(KVLimits.keyByteCountMax)."
            )
        }
    }

    static func check(cacheTtl: Int64?) throws(KVError) {
        guard let cacheTtl, cacheTtl < KVLimits.cacheTtlMin else { return }
        throw .refused(
            status: 400,
            text: "Invalid cache_ttl of \(cacheTtl). Cache TTL must be at least \(KVLimits.cacheTtlMin).")
    }

    /// All checks of a put, in the product's order.
    ///
    /// - Returns: the second at which the entry is gone, or `nil` when it stays.
    static func expiration(ofChecked write: KVWrite, now: Int64) throws(KVError) -> Int64? {
        try check(writtenKey: write.key)
        let expiration = try expiration(of: write, now: now)
        try check(metadata: write.metadata)
        try check(valueByteCount: write.valueByteCount)
        return expiration
    }

    static func check(bulkCount count: Int) throws(KVError) {
        guard count <= KVLimits.bulkWritesMax else {
            throw .refused(status: 400, text: "You can write a maximum of \(KVLimits.bulkWritesMax) keys")
        }
    }

    static func check(bulkByteCount byteCount: Int) throws(KVError) {
        guard byteCount <= KVLimits.bulkWriteByteCountMax else {
            throw .refused(status: 413, text: "Total size of request exceeds the limit of 100MB")
        }
    }

    /// The second at which the entry is gone, or `nil` when it stays.
    static func expiration(of write: KVWrite, now: Int64) throws(KVError) -> Int64? {
        let ttlMin = KVLimits.expirationTtlMin
        if let ttl = write.expirationTtl {
            guard ttl > 0 else {
                throw .refused(
                    status: 400,
                    text: "Invalid expiration_ttl of \(ttl). Please specify integer greater than 0.")
            }
            guard ttl >= ttlMin else {
                throw .refused(
                    status: 400,
                    text: "Invalid expiration_ttl of \(ttl). Expiration TTL must be at least \(ttlMin).")
            }
            let (expiration, overflow) = now.addingReportingOverflow(ttl)
            return overflow ? .max : expiration
        }
        guard let expiration = write.expiration else { return nil }
        guard expiration > now else {
            throw .refused(
                status: 400,
                text:
                    "Invalid expiration of \(expiration). Please specify integer greater than the current number "
                    + "of seconds since the UNIX epoch.")
        }
        guard expiration >= now + ttlMin else {
            throw .refused(
                status: 400,
                text:
                    "Invalid expiration of \(expiration). Expiration times must be at least \(ttlMin) seconds in "
                    + "the future.")
        }
        return expiration
    }

    static func check(metadata: String?) throws(KVError) {
        guard let metadata else { return }
        let byteCount = metadata.utf8.count
        guard byteCount <= KVLimits.metadataByteCountMax else {
            throw .refused(
                status: 413,
                text: "Metadata length of \(byteCount) exceeds limit of \(KVLimits.metadataByteCountMax).")
        }
        guard JSONGrammar.accepts(metadata) else {
            throw .refused(status: 400, text: "Metadata must be valid JSON.")
        }
    }

    static func check(valueByteCount: Int) throws(KVError) {
        guard valueByteCount <= KVLimits.valueByteCountMax else {
            throw .refused(
                status: 413,
                text: "Value length of \(valueByteCount) exceeds limit of \(KVLimits.valueByteCountMax).")
        }
    }

    static func check(_ request: KVBulkRequest) throws(KVError) {
        guard request.type == "text" || request.type == "json" else {
            throw .refused(
                status: 400, text: "\"\(request.type)\" is not a valid type. Use \"json\" or \"text\"")
        }
        guard request.keys.count <= KVLimits.bulkKeysMax else {
            throw .refused(status: 400, text: "You can request a maximum of \(KVLimits.bulkKeysMax) keys")
        }
        guard !request.keys.isEmpty else {
            throw .refused(status: 400, text: "You must request a minimum of 1 key")
        }
        for key in request.keys {
            try check(key: key)
            try check(cacheTtl: request.cacheTtl)
        }
    }

    /// The page's size.
    static func check(limit: Int64?, prefix: [UInt8]) throws(KVError) -> Int {
        let limitMax = KVLimits.listLimitMax
        let limit = limit.flatMap { $0 > 0 ? $0 : nil } ?? limitMax
        guard limit <= limitMax else {
            throw .refused(
                status: 400,
                text: "Invalid key_count_limit of \(limit). Please specify an integer less than \(limitMax).")
        }
        try checkLength(prefix)
        return Int(limit)
    }
}
