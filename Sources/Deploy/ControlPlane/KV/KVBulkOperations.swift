internal import Host
internal import Interfaces
internal import Stores
internal import StoresKV
internal import System

/// Many keys at once. Writes and deletions are one transaction: what is wrong with one pair is said of that pair, and the
/// others are stored.
enum KVBulkOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let namespace = KVOperations.root + "/{namespace_id}"
        let keys = APISchema.array(.string())
        let delete: @Sendable (APICall) async throws -> APIReply = { try await remove(services, $0) }
        return [
            APIOperation(
                "PUT", namespace + "/bulk", id: "kv.bulk.update", "Stores up to 10,000 pairs", .account(.kv, .edit),
                body: .stream(about: "The pairs.", type: "application/json", schema: pairs),
                result: .json(KVOperations.outcome), mistakes: KVOperations.code
            ) { try await put(services, $0) },
            APIOperation(
                "POST", namespace + "/bulk/get", id: "kv.bulk.get", "The values of up to 100 keys", .account(.kv, .read),
                body: .json(
                    .object([
                        .required("keys", .array(.string())), .optional("type", .nullable(.string())),
                        .optional("withMetadata", .nullable(.bool)),
                    ])),
                result: .json(.object([.required("values", .map(.any))])), isIdempotent: true, mistakes: KVOperations.code
            ) { try await get(services, $0) },
            APIOperation(
                "POST", namespace + "/bulk/delete", id: "kv.bulk.delete", "Removes up to 10,000 keys", .account(.kv, .edit),
                body: .json(keys, bytesMax: deletionBytesMax), result: .json(KVOperations.outcome), isIdempotent: true,
                mistakes: KVOperations.code, answer: delete),
            // What older clients send.
            APIOperation(
                "DELETE", namespace + "/bulk", id: "kv.bulk.delete_old", "Removes up to 10,000 keys", .account(.kv, .edit),
                body: .json(keys, bytesMax: deletionBytesMax), result: .json(KVOperations.outcome),
                mistakes: KVOperations.code, answer: delete),
        ]
    }

    private static let pairs = APISchema.array(
        .object([
            .required("key", .string(1...512)), .required("value", .string()), .optional("base64", .nullable(.bool)),
            .optional("expiration", .nullable(.number)), .optional("expiration_ttl", .nullable(.number)),
            .optional("metadata", .any),
        ]), 0...KVLimits.bulkWritesMax)

    /// 10,000 keys of 512 bytes, most of them escaped.
    private static let deletionBytesMax = 16 << 20
    /// The text of a bulk write, 100 MB of values among it at most.
    private static let textBytesMax = 100 << 20

    // MARK: Writing

    private static func put(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let namespace = try await KVOperations.open(services, call, for: "bulk put")
        let announced = call.header("content-length").flatMap { Int($0) } ?? textBytesMax
        guard announced <= textBytesMax else { throw tooLarge }
        do {
            // Decoded, no pair is longer than its text.
            let share: Budget.Share
            do throws(Budget.Refused) { share = try await namespace.memory.incoming.acquire(announced) } catch {
                throw KVError.overloaded
            }
            defer { withExtendedLifetime(share) {} }
            let reader = try await read(call, on: services.work)
            let outcome = try await namespace.put(reader.writes)
            let refused = reader.refused.map(\.key) + outcome.failures.map(\.key)
            return reply(outcome.successfulKeyCount, refused: refused)
        } catch let error as KVError { throw KVOperations.failure(error, "bulk put") }
    }

    private static var tooLarge: APIError {
        APIError(413, 10021, "bulk put: 'Total size of request exceeds the limit of 100MB'")
    }

    /// Reads as it arrives, on other threads than the reactor's.
    private static func read(_ call: APICall, on threads: BlockingPool) async throws -> KVBulkReader {
        let box = ReaderBox()
        var byteCount = 0
        do {
            while let piece = try await call.nextPiece() {
                byteCount += piece.count
                guard byteCount <= textBytesMax else { throw tooLarge }
                try await threads.run { () throws(KVBulkReader.Malformed) in try box.reader.feed(piece) }
            }
            try await threads.run { () throws(KVBulkReader.Malformed) in try box.reader.finish() }
        } catch let error as KVBulkReader.Malformed { throw APIError(400, error.code, "bulk put: '\(error.reason)'") }
        return box.reader
    }

    /// One step is awaited before the next begins, so one thread has it at a time.
    private final class ReaderBox: @unchecked Sendable {
        var reader = KVBulkReader()
    }

    private static func remove(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let namespace = try await KVOperations.open(services, call, for: "bulk delete")
        let keys = (call.json.items ?? []).map { Array(($0.text ?? "").utf8) }
        do throws(KVError) {
            let outcome = try await namespace.delete(keys)
            return reply(outcome.successfulKeyCount, refused: outcome.failures.map(\.key))
        } catch { throw KVOperations.failure(error, "bulk delete") }
    }

    private static func reply(_ successfulKeyCount: Int, refused: [[UInt8]]) -> APIReply {
        .result(
            .object([
                "successful_key_count": .integer(Int64(successfulKeyCount)),
                "unsuccessful_keys": .strings(refused.map { String(decoding: $0, as: UTF8.self) }),
            ]))
    }

    // MARK: Reading

    private static func get(_ services: APIServices, _ call: APICall) async throws -> APIReply {
        let keys = (call.json["keys"]?.items ?? []).compactMap(\.text)
        guard !keys.isEmpty else { throw APIError(400, 10029, "bulk get: 'You must request a minimum of 1 key'") }
        let type = call.json["type"]?.text ?? "text"
        let namespace = try await KVOperations.open(services, call, for: "bulk get")
        let request = KVBulkRequest(keys: keys.map { Array($0.utf8) }, type: type)
        let (found, share): ([KVRecord?]?, Budget.Share?)
        do throws(KVError) {
            // As it is stored, as a string, and as the text of the answer, which may have escapes.
            (found, share) = try await namespace.readHeld(copies: 4) { byteCountMax throws(KVError) in
                try await namespace.getMany(request, byteCountMax: byteCountMax)
            }
        } catch { throw KVOperations.failure(error, "bulk get") }
        let records = found ?? []
        let hasMetadata = call.json["withMetadata"]?.bool ?? false
        guard let share else { return .result(values(keys, records, type, hasMetadata)) }
        let bytes = await services.work.run {
            Envelope.bytes(values(keys, records, type, hasMetadata))
        }
        share.shrink(to: bytes.count)
        return .raw(
            LocalResponse(
                status: 200, headers: [("content-type", "application/json")], body: .stream(HeldBytes(bytes, share)),
                bodyByteCount: bytes.count))
    }

    /// Every key that was asked for, once.
    private static func values(_ keys: [String], _ records: [KVRecord?], _ type: String, _ hasMetadata: Bool) -> JSON {
        var (seen, members): (Set<[UInt8]>, [JSON.Member]) = ([], [])
        for (key, record) in zip(keys, records) where seen.insert(Array(key.utf8)).inserted {
            members.append(JSON.Member(name: key, value: record.map { json($0, type, hasMetadata) } ?? .null))
        }
        return .object(["values": .object(members)])
    }

    private static func json(_ record: KVRecord, _ type: String, _ hasMetadata: Bool) -> JSON {
        let text = String(decoding: record.value, as: UTF8.self)
        let value: JSON = type == "json" ? .verbatim(Array(text.utf8)) : .string(text)
        guard hasMetadata else { return value }
        return .object([
            "value": value, "metadata": record.metadata.map { .verbatim(Array($0.utf8)) } ?? .null,
            "expiration": record.expiration.map { .integer($0) },
        ])
    }
}
