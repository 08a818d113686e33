internal import Host
internal import Interfaces
internal import Stores
internal import StoresD1
internal import System

/// SQL over REST: each call is one transaction, each statement gives one result.
enum D1QueryOperations {
    /// An answer up to this size is made at once, a longer one while it is sent.
    private static let wholeByteCount = 128 << 10
    /// A body up to this size is read on the reactor.
    private static let shortByteCount = 128 << 10

    static func all(_ services: APIServices) -> [APIOperation] {
        // Long bodies are read here: a reactor has others to serve.
        let pool = BlockingPool(name: "edge-d1-json", threadCount: 1)
        return [
            APIOperation(
                "POST", D1Operations.onePath + "/query", id: "d1.database.query", "Runs SQL; rows are objects",
                .account(.d1, .edit), body: .jsonStream(body),
                result: .json(.array(.object([.required("results", .array(.object([]))), .required("success", .bool)]))),
                isAudited: false
            ) { try await run(D1Call($0, services), .objects, pool) },
            APIOperation(
                "POST", D1Operations.onePath + "/raw", id: "d1.database.raw", "Runs SQL; rows are arrays",
                .account(.d1, .edit), body: .jsonStream(body), result: .json(.array(.object([.required("results", rows)]))),
                isAudited: false
            ) { try await run(D1Call($0, services), .arrays, pool) },
        ]
    }

    private static let value = APISchema.nullable(
        .either([.string(), .number, .bool, .array(.integer(0...255))]))
    private static let statement: [APISchema.Field] = [
        .required("sql", .string()), .optional("params", .nullable(.array(value))),
    ]
    private static let body = APISchema.either([
        .object(statement), .object([.required("batch", .array(.object(statement)))]),
    ])
    private static let rows = APISchema.object([
        .required("columns", .array(.string())), .required("rows", .array(.array(.any))),
    ])

    private static func run(_ d1: D1Call, _ shape: D1JSON.Shape, _ pool: BlockingPool) async throws -> APIReply {
        let entry = try await d1.entry()
        let (bytes, share) = try await d1.body(bytesMax: D1Request.bytesMax)
        // A long request counts until it is answered.
        defer { withExtendedLifetime(share) {} }
        let body =
            try bytes.count <= shortByteCount
            ? D1QueryBody(bytes)
            : await pool.run { () throws(APIError) in
                try D1QueryBody(bytes)
            }
        let store = d1.databases.store
        let answer = try await d1.stored { () throws(D1Failure) in
            try await store.runEach(body.statements, on: entry.resource)
        }
        var pieces = D1JSONPieces(
            answer.bytes, shape, region: store.region,
            prefix: Array(#"{"success":true,"errors":[],"messages":[],"result":"#.utf8), suffix: Array("}\n".utf8))
        let content: StoreBody =
            answer.bytes.count <= wholeByteCount ? .bytes(pieces.all()) : .stream(D1JSONBody(pieces, answer.share))
        return .raw(LocalResponse(status: 200, headers: [("content-type", "application/json")], body: content))
    }
}
