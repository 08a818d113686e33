internal import Host
internal import Interfaces
internal import Releases
internal import Stores
internal import StoresD1

/// A call about the databases of one account, and what its operations share.
struct D1Call: Sendable {
    let call: APICall
    let databases: TenantDatabases

    init(_ call: APICall, _ services: APIServices) throws(APIError) {
        self.call = call
        databases = try services.accounts.runner(call).databases
    }

    /// The id or the name in the path.
    var database: String { call.parameters["database_id"] ?? "" }

    /// The database that the path names.
    ///
    /// - Throws: 404 when there is none.
    func entry() async throws(APIError) -> D1DatabaseEntry {
        let name = database
        guard name.utf8.count <= D1Catalog.nameBytesMax, name.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != 0x2F }) else {
            throw .badIdentifier("/accounts/\(call.parameters["account_id"] ?? "")/d1/database/\(name.prefix(200))")
        }
        return try await asked { () throws(D1CatalogError) in try await databases.find(name) }
    }

    // MARK: What goes wrong

    func asked<Value>(_ body: () async throws(D1CatalogError) -> Value) async throws(APIError) -> Value {
        do throws(D1CatalogError) { return try await body() } catch { throw APIError(error) }
    }

    func stored<Value>(_ body: () async throws(D1Failure) -> Value) async throws(APIError) -> Value {
        do throws(D1Failure) { return try await body() } catch { throw APIError(error) }
    }

    func transferred<Value>(_ body: () async throws(D1TransferError) -> Value) async throws(APIError) -> Value {
        do throws(D1TransferError) { return try await body() } catch { throw APIError(error) }
    }

    // MARK: Bodies

    /// A body up to this size isn't counted: the node bounds how many requests there are.
    private static let freeByteCount = 64 << 10

    /// The body, with what it counts against for as long as somebody holds it.
    func body(bytesMax: Int) async throws -> (bytes: [UInt8], share: Budget.Share?) {
        var bytes: [UInt8] = []
        var share: Budget.Share?
        // What was announced is the most that comes; without that, it may be as much as is allowed.
        let most = min(bytesMax, call.header("content-length").flatMap(Int.init) ?? bytesMax)
        while let piece = try await call.body?.next() {
            guard bytes.count + piece.count <= bytesMax else {
                throw APIError(413, 7400, "The request is longer than \(bytesMax) bytes")
            }
            if share == nil, bytes.count + piece.count > Self.freeByteCount {
                do throws(Budget.Refused) { share = try await databases.store.incoming.acquire(most) } catch {
                    throw APIError(D1Failure.overloadedQueue)
                }
            }
            bytes += piece
        }
        share?.shrink(to: bytes.count)
        return (bytes, share)
    }

    /// A body of JSON, in its shape.
    func json(_ schema: APISchema, bytesMax: Int) async throws -> JSON {
        let (bytes, share) = try await body(bytesMax: bytesMax)
        defer { withExtendedLifetime(share) {} }
        guard let json = JSON(bytes) else { throw APIError(400, 7400, "The request is malformed: it must be JSON") }
        do throws(APISchema.Mismatch) { try schema.check(json) } catch {
            throw APIError(
                400, 7400, "Invalid property: \(error.pointer.isEmpty ? "body" : error.pointer) must be \(error.expected)",
                pointer: error.pointer)
        }
        return json
    }
}

extension APIError {
    init(_ error: D1CatalogError) {
        if case .failed(let failure) = error {
            self.init(failure)
            return
        }
        self.init(error.code == 7404 ? 404 : 400, error.code, error.description)
    }

    init(_ error: D1TransferError) {
        switch error {
        case .failed(let failure): self.init(failure)
        case .noFile: self.init(404, error.code, error.description)
        case .tooMany: self.init(429, error.code, error.description, retryAfterSeconds: 60)
        case .invalid: self.init(400, error.code, error.description)
        }
    }

    init(_ failure: D1Failure) {
        switch failure {
        case .overloadedQueue, .waitedTooLong, .closed, .locked, .frozen:
            self.init(503, failure.code, failure.text, retryAfterSeconds: 1)
        case .tooManyRestores: self.init(429, failure.code, failure.text, retryAfterSeconds: 60)
        default: self.init(failure.code == 7404 ? 404 : 400, failure.code, failure.text)
        }
    }
}
