internal import HTTP
internal import Host

/// The node itself, whatever it serves: in and out of service.
enum NodeOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let drain = APISchema.object([
            .required("state", .choice(["starting", "serving", "leaving", "announcing", "drained"])),
            .required("since", .nullable(.string())), .required("delay_seconds", .number),
            .required("open_requests", .integer()), .required("open_connections", .integer()),
        ])
        return [
            APIOperation(
                "GET", "/edge/node/drain", id: "node.drain.get", "Whether the node is in service, and what it still has to do",
                .everyToken, result: .json(drain)
            ) { call in
                try requireAll(.read, call)
                return .result(try await report(services))
            },
            APIOperation(
                "POST", "/edge/node/drain", id: "node.drain.begin",
                "Takes the node out of service: readiness fails, then connections end; what comes nevertheless is served",
                .everyToken, result: .json(drain), isIdempotent: true
            ) { call in
                try requireAll(.edit, call)
                await (try parts(services)).drain.begin()
                return .result(try await report(services))
            },
            APIOperation(
                "DELETE", "/edge/node/drain", id: "node.drain.undo", "Takes the node into service again", .everyToken,
                result: .json(drain)
            ) { call in
                try requireAll(.edit, call)
                guard await (try parts(services)).drain.undo() else {
                    throw APIError(409, 10013, "The node's process is ending: that can't be undone")
                }
                return .result(try await report(services))
            },
        ]
    }

    static func requireAll(_ level: APIOperation.Level, _ call: APICall) throws(APIError) {
        guard call.principal.covers(.init(tenant: nil, product: .tenants, level: level)) else { throw .notAllowed }
    }

    private static func parts(_ services: APIServices) throws(APIError) -> (drain: NodeDrain, node: Node) {
        guard let drain = services.drain, let node = services.node else {
            throw APIError(503, 10013, "This node can't be taken out of service")
        }
        return (drain, node)
    }

    private static func report(_ services: APIServices) async throws(APIError) -> JSON {
        let (drain, node) = try parts(services)
        let since = await drain.since
        return .object([
            "state": .string(drain.state.rawValue),
            "since": since.map { .string(HTTPDate(unixSeconds: $0.seconds).iso8601) } ?? .null,
            "delay_seconds": .number(Double(drain.delay.wholeMilliseconds) / 1000),
            "open_requests": .integer(Int64(await node.openRequestCount())),
            "open_connections": .integer(Int64(await node.snapshot().connections)),
        ])
    }
}
