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
        let upgrade = APISchema.object([
            .required("state", .choice(["none", "running", "succeeded", "failed"])), .required("number", .integer()),
            .required("binary", .string()), .required("pid", .integer()), .required("version", .string()),
            .required("detail", .string()), .required("held_ms", .integer()),
            .required("websockets", .integer()),
        ])
        return [
            APIOperation(
                "GET", "/edge/node/upgrade", id: "node.upgrade.get", "How far the last replacing of the node's process is",
                .everyToken, result: .json(upgrade), isPolled: true
            ) { call in
                try requireAll(.read, call)
                guard let upgrade = services.upgrade else { throw notHere }
                return .result(json(await upgrade.report(), services))
            },
            APIOperation(
                "POST", "/edge/node/upgrade", id: "node.upgrade.begin",
                "Replaces the node's process by one of another executable; nothing is lost, and a failure changes nothing",
                .everyToken,
                body: .json(.object([.required("binary", .string(1...4095)), .optional("timeout_seconds", .number)])),
                result: .json(upgrade)
            ) { call in
                try requireAll(.edit, call)
                guard let upgrade = services.upgrade else { throw notHere }
                let seconds = call.json["timeout_seconds"]?.number ?? 60
                guard (1...3600).contains(seconds) else {
                    throw APIError(400, 10026, "/timeout_seconds must be 1 to 3600", pointer: "/timeout_seconds")
                }
                do throws(UpgradeRefusal) {
                    let report = try await upgrade.begin(
                        binary: call.json["binary"]?.text ?? "", patience: .milliseconds(Int64(seconds * 1000)))
                    return .result(json(report, services))
                } catch { throw APIError(409, 10013, error.reason) }
            },
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

    private static let notHere = APIError(501, 10013, "This node's process can't be replaced: only that of edge serve can")

    private static func json(_ report: UpgradeReport, _ services: APIServices) -> JSON {
        .object([
            "state": .string(report.state.rawValue), "number": .integer(report.number), "binary": .string(report.binary),
            "pid": .integer(Int64(report.processID)), "version": .string(services.version), "detail": .string(report.detail),
            "held_ms": .integer(report.heldMilliseconds), "websockets": .integer(Int64(report.socketCount)),
        ])
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
