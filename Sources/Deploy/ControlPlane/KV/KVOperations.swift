internal import Interfaces
internal import Releases
internal import Stores
internal import StoresKV

/// The REST API of KV (spec kv.md §6): namespaces, their keys and values, one by one and many at once.
enum KVOperations {
    static let root = "/accounts/{account_id}/storage/kv/namespaces"

    static func all(_ services: APIServices) -> [APIOperation] {
        KVNamespaceOperations.all(services) + KVValueOperations.all(services) + KVBulkOperations.all(services)
    }

    // MARK: Shapes

    static let namespace = APISchema.object([
        .required("id", .string()), .required("title", .string()), .required("supports_url_encoding", .bool),
        // Under it, configurations find a namespace that was renamed.
        .optional("first_title", .string()),
    ])
    static let key = APISchema.object([
        .required("name", .string()), .optional("expiration", .integer()), .optional("metadata", .any),
    ])
    static let outcome = APISchema.object([
        .required("successful_key_count", .integer()), .required("unsuccessful_keys", .array(.string())),
    ])
    /// Of calls that answer nothing.
    static let nothing = APISchema.object([])

    static let times: [APIOperation.Parameter] = [
        .init("expiration", .any, "Seconds since 1970 at which the key is gone, 60 from now at least."),
        .init("expiration_ttl", .any, "Seconds from now after which the key is gone, at least 60; wins over `expiration`."),
    ]

    /// What is wrong with a request, in the product's numbers for KV.
    @Sendable static func code(_ mistake: APIOperation.Mistake) -> Int? {
        switch mistake {
        case .unreadable: 10012
        case .member("/title"): 10019
        case .member("/keys"): 10029
        case .member: 10012
        case .parameter: 10021
        case .method: 10405
        }
    }

    // MARK: Stores

    static func store(_ services: APIServices, _ call: APICall) throws(APIError) -> any KVAdministration {
        try services.accounts.runner(call).kv
    }

    /// The id that the path names; ids are in lower case.
    static func id(_ call: APICall) -> String { (call.parameters["namespace_id"] ?? "").lowercased() }

    static func open(_ services: APIServices, _ call: APICall, for verb: String) async throws(APIError) -> any KVBulkNamespace {
        let store = try store(services, call)
        do throws(KVAdministrationError) { return try await store.openNamespace(id: id(call)) } catch {
            throw failure(error, verb)
        }
    }

    /// The bytes of the key that the path names.
    static func key(_ call: APICall) -> [UInt8] { call.bytes("key_name") }

    // MARK: Failures

    /// - Parameter verb: What was to be done, as messages begin.
    static func failure(_ error: KVAdministrationError, _ verb: String) -> APIError {
        switch error {
        case .notFound: notFound("namespace", verb)
        case .titleTaken: APIError(400, 10014, "\(verb): '\(error)'")
        case .badTitle: APIError(400, 10019, "\(verb): '\(error)'")
        case .tooManyNamespaces: APIError(400, 10021, "\(verb): '\(error)'")
        case .overloaded: overloaded(verb)
        case .failed: .internalError(verb)
        }
    }

    static func failure(_ error: KVError, _ verb: String) -> APIError {
        switch error {
        case .refused(404, _): notFound("namespace", verb)
        case .refused(let status, let text):
            APIError(status, text.utf8.starts(with: "Invalid expiration".utf8) ? 10034 : 10021, "\(verb): '\(text)'")
        case .overloaded: overloaded(verb)
        case .failed: .internalError(verb)
        }
    }

    static func notFound(_ what: String, _ verb: String) -> APIError {
        APIError(404, what == "key" ? 10009 : 10013, "\(verb): '\(what) not found'")
    }

    private static func overloaded(_ verb: String) -> APIError {
        APIError(503, 10043, "\(verb): 'too much waits to be read or written'", retryAfterSeconds: 1)
    }
}
