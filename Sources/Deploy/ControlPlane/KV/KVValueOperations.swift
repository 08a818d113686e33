internal import Host
internal import HTTP
internal import Interfaces
internal import Stores
internal import StoresKV

/// Keys and values, one by one.
enum KVValueOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let namespace = KVOperations.root + "/{namespace_id}"
        let nothing = KVOperations.nothing
        return [
            APIOperation(
                "GET", namespace + "/keys", id: "kv.keys.list", "A page of a namespace's keys, in byte order",
                .account(.kv, .read),
                query: [
                    .init("limit", .integer(10...1000), "How many a page has; 1000 when not given."),
                    .init("prefix", .string(), "What the keys begin with."),
                    .init("cursor", .string(), "Where the page begins: what `result_info` of the one before said."),
                ],
                result: .json(.array(KVOperations.key)), mistakes: KVOperations.code
            ) { try await list(services, $0) },
            APIOperation(
                "GET", namespace + "/values/{key_name}", id: "kv.values.get", "A value", .account(.kv, .read),
                result: .raw(about: "The value, with its `expiration` as a header."), mistakes: KVOperations.code
            ) { try await get(services, $0) },
            APIOperation(
                "PUT", namespace + "/values/{key_name}", id: "kv.values.update",
                "Stores a value; all that stood under the key is replaced", .account(.kv, .edit), query: KVOperations.times,
                body: .stream(about: "The value; or a form with `value` and, if wanted, `metadata` (JSON)."),
                result: .json(nothing), mistakes: KVOperations.code
            ) { try await put(services, $0) },
            APIOperation(
                "DELETE", namespace + "/values/{key_name}", id: "kv.values.delete", "Removes a key, if it is there",
                .account(.kv, .edit), result: .json(nothing), mistakes: KVOperations.code
            ) { try await delete(services, $0) },
            APIOperation(
                "GET", namespace + "/metadata/{key_name}", id: "kv.metadata.get", "What is stored beside a value",
                .account(.kv, .read), result: .json(.any), mistakes: KVOperations.code
            ) { try await metadata(services, $0) },
        ]
    }

    // MARK: Reading

    private static func list(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let namespace = try await KVOperations.open(services, call, for: "list keys")
        let cursor = call.queryValue("cursor").flatMap { $0.isEmpty ? nil : $0 }
        let page: KVPage
        do throws(KVError) {
            page = try await namespace.list(
                prefix: Array((call.queryValue("prefix") ?? "").utf8), limit: call.queryValue("limit").flatMap { Int64($0) },
                cursor: cursor)
        } catch { throw KVOperations.failure(error, "list keys") }
        let keys = page.keys.map { key in
            JSON.object([
                "name": .string(String(decoding: key.name, as: UTF8.self)), "expiration": key.expiration.map { .integer($0) },
                "metadata": key.metadata.map { .verbatim($0) },
            ])
        }
        return .result(
            .array(keys),
            info: .object(["count": .integer(Int64(keys.count)), "cursor": .string(page.cursor ?? "")]))
    }

    private static func get(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let namespace = try await KVOperations.open(services, call, for: "get")
        let key = KVOperations.key(call)
        let (found, share): (KVRecord?, Budget.Share?)
        do throws(KVError) {
            (found, share) = try await namespace.readHeld { byteCountMax throws(KVError) in
                try await namespace.get(key, cacheTtl: nil, byteCountMax: byteCountMax)
            }
        } catch { throw KVOperations.failure(error, "get") }
        guard let found else { throw KVOperations.notFound("key", "get") }
        var headers = [(name: "content-type", value: "application/octet-stream")]
        if let expiration = found.expiration { headers.append(("expiration", String(expiration))) }
        let isSmall = found.value.count <= KVLimits.inlineByteCountMax
        return .raw(
            LocalResponse(
                status: 200, headers: headers,
                body: isSmall ? .bytes(found.value) : .stream(HeldBytes(found.value, share)),
                bodyByteCount: found.value.count))
    }

    private static func metadata(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let namespace = try await KVOperations.open(services, call, for: "get")
        let found: KVEntryHead?
        do throws(KVError) { found = try await namespace.head(KVOperations.key(call)) } catch {
            throw KVOperations.failure(error, "get")
        }
        guard let found else { throw KVOperations.notFound("key", "get") }
        return .result(found.metadata.map { .verbatim(Array($0.utf8)) } ?? .null)
    }

    // MARK: Writing

    private static func put(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let namespace = try await KVOperations.open(services, call, for: "put")
        var write = KVWrite(key: KVOperations.key(call), value: [])
        do {
            write.expirationTtl = try time(call, "expiration_ttl", "Please specify integer greater than 0.")
            if write.expirationTtl == nil {
                write.expiration = try time(
                    call, "expiration",
                    "Please specify integer greater than the current number of seconds since the UNIX epoch.")
            }
            // What is refused whatever the value is needs no value.
            try namespace.check(write)
            let (value, metadata) = try await content(of: call, for: namespace)
            // The share lasts until the value is stored.
            defer { withExtendedLifetime(value.share) {} }
            write.value = value.bytes[...]
            write.valueByteCount = value.byteCount
            write.metadata = metadata
            try await namespace.put(write)
        } catch let error as KVError { throw KVOperations.failure(error, "put") }
        return .result(.object([:]))
    }

    /// A time of the query: a whole number, or what is before its fraction.
    private static func time(_ call: APICall, _ name: String, _ advice: String) throws(KVError) -> Int64? {
        guard let text = call.queryValue(name) else { return nil }
        if let integer = Int64(text) { return integer }
        guard let number = Double(text), let integer = Int64(exactly: number.rounded(.towardZero)) else {
            throw .refused(status: 400, text: "Invalid \(name) of \(text). \(advice)")
        }
        return integer
    }

    private static func content(
        of call: APICall, for namespace: any KVBulkNamespace
    ) async throws -> (value: KVCollectedValue, metadata: String?) {
        let contentType = call.header("content-type") ?? ""
        do {
            if HeaderParameters.parse(contentType).value == "multipart/form-data" {
                return try await form(call, contentType, for: namespace)
            }
            return (try await raw(call, for: namespace), nil)
        } catch let error as MultipartError {
            switch error {
            case .tooLarge, .partTooLarge: throw KVError.refused(status: 413, text: "\(error)")
            default: throw APIError(400, 10012, "put: '\(error)'")
            }
        }
    }

    /// A value that is too long is read to its end, since the error names its length. But not for ever.
    private static let bodyBytesMax = 4 * KVLimits.valueByteCountMax
    private static let formLimits = MultipartLimits(partsMax: 16, totalBytesMax: bodyBytesMax)
    private static let metadataTextMax = 64 << 10

    private static func raw(_ call: APICall, for namespace: any KVBulkNamespace) async throws -> KVCollectedValue {
        let announced = call.body == nil ? 0 : call.header("content-length").flatMap { Int($0) }
        func check(_ byteCount: Int) throws(KVError) {
            guard byteCount > bodyBytesMax else { return }
            throw .refused(
                status: 413, text: "Value length of \(byteCount) exceeds limit of \(KVLimits.valueByteCountMax).")
        }
        if let announced { try check(announced) }
        var byteCount = 0
        return try await namespace.collect(byteCountMax: announced ?? KVLimits.valueByteCountMax) {
            let piece = try await call.nextPiece()
            byteCount += piece?.count ?? 0
            try check(byteCount)
            return piece
        }
    }

    private static func form(
        _ call: APICall, _ contentType: String, for namespace: any KVBulkNamespace
    ) async throws -> (value: KVCollectedValue, metadata: String?) {
        guard let body = call.body else { throw MultipartError.noBody }
        let form = try MultipartBody(body, contentType: contentType, limits: formLimits)
        var (value, metadata): (KVCollectedValue?, String?)
        while let field = try await form.nextPart() {
            switch field.name {
            case "value": value = try await namespace.collect { try await form.nextPiece() }
            case "metadata":
                let bytes = try await form.bytes(of: field, bytesMax: metadataTextMax)
                guard JSONGrammar.accepts(bytes[...]) else { throw APIError(400, 10021, "put: 'Metadata must be valid JSON.'") }
                let text = String(decoding: bytes, as: UTF8.self)
                metadata = text.trimmingPrefix(while: \.isWhitespace) == "null" ? nil : text
            default: break
            }
        }
        guard let value else { throw APIError(400, 10012, "put: 'the form has no part named value'") }
        return (value, metadata)
    }

    private static func delete(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let namespace = try await KVOperations.open(services, call, for: "delete")
        do throws(KVError) { try await namespace.delete(KVOperations.key(call)) } catch {
            throw KVOperations.failure(error, "delete")
        }
        return .result(.object([:]))
    }
}
