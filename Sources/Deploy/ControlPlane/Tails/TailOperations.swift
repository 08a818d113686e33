internal import HTTP
internal import Host
internal import OpenSSL

/// Live tails: making, showing and ending them, and the WebSocket that a tail is followed over (spec control-plane.md §7).
enum TailOperations {
    private static let path = "/accounts/{account_id}/workers/scripts/{script_name}/tails"

    static func all(_ services: APIServices) -> [APIOperation] {
        let (accounts, tails) = (services.accounts, Tails(clock: services.clock))
        let shown = APISchema.object([
            .required("id", .string()), .required("url", .string()), .required("expires_at", .string()),
        ])
        return [
            APIOperation(
                "POST", path, id: "workers.scripts.tail.create", "Makes a tail, to be followed at its URL",
                .account(.workers, .edit), body: .json(.nullable(TailFilter.schema), bytesMax: 64 << 10), result: .json(shown)
            ) { call in
                let worker = try await worker(call, accounts)
                guard
                    let tail = tails.make(
                        worker: worker.name, tenant: worker.tenant, client: call.client,
                        filter: try TailFilter(call.json, client: call.client), traces: worker.traces)
                else {
                    throw APIError(400, 10021, "A Worker has at most \(Tails.perWorkerMax) tails: delete one that nobody reads")
                }
                return .result(json(tail, call))
            },
            APIOperation(
                "GET", path, id: "workers.scripts.tail.get", "The newest tail of a worker, and all of them under \"tails\"",
                .account(.workers, .read), result: .json(.nullable(shown))
            ) { call in
                let worker = try await worker(call, accounts)
                let all = tails.tails(of: worker.name, tenant: worker.tenant)
                guard let newest = all.first, case .object(let members) = json(newest, call) else { return .result(.null) }
                let others = JSON.Member(name: "tails", value: .array(all.map { json($0, call) }))
                return .result(.object(members + [others]))
            },
            APIOperation(
                "DELETE", path + "/{id}", id: "workers.scripts.tail.delete", "Ends a tail", .account(.workers, .edit),
                result: .json(.any)
            ) { call in
                let worker = try await worker(call, accounts)
                let id = call.parameters["id"] ?? ""
                guard tails.delete(id, of: worker.name, tenant: worker.tenant) else {
                    throw APIError(404, 10200, "There is no such tail; it may have expired")
                }
                return .noResult
            },
            APIOperation(
                "GET", "/workers/tails/{secret}", id: "workers.tails.follow",
                "The events of a tail, over a WebSocket with the subprotocol trace-v1. The URL is all the permission that it needs",
                .everybody, result: .raw(about: "The events, one JSON object in each message.")
            ) { call in .raw(try follow(call, tails)) },
        ]
    }

    private struct Worker {
        let name: String
        let tenant: String
        let traces: WorkerTraces
    }

    private static func worker(_ call: APICall, _ accounts: Accounts) async throws -> Worker {
        let runner = try accounts.runner(call)
        let name = call.parameters["script_name"] ?? ""
        let release = await runner.active?.release
        guard release?.workers[name] != nil || release?.sites[name] != nil else {
            throw APIError(404, 10007, "This Worker does not exist on your account.")
        }
        return Worker(name: name, tenant: runner.tenant, traces: runner.traces(of: name))
    }

    private static func json(_ tail: Tail, _ call: APICall) -> JSON {
        // Under the name and port that the caller has reached this node by.
        let base = "\(call.isSecure ? "wss" : "ws")://\(call.header("host") ?? "localhost")"
        return .object([
            "id": .string(tail.id), "url": .string("\(base)\(API.prefix)/workers/tails/\(tail.secret)"),
            "expires_at": .string(HTTPDate(unixSeconds: tail.expiresAt.seconds).iso8601),
        ])
    }

    private static func follow(_ call: APICall, _ tails: Tails) throws(APIError) -> LocalResponse {
        guard let tail = tails.tail(secret: call.parameters["secret"] ?? "") else {
            throw APIError(404, 10200, "There is no such tail; it may have expired")
        }
        let handshake: WebSocketHandshake
        do throws(WebSocketHandshake.Refusal) {
            handshake = try WebSocketHandshake(method: "GET", headers: call.headers)
        } catch {
            var response = LocalResponse.text("\(error)\n", status: error.status)
            response.headers += error.headers
            return response
        }
        guard handshake.subprotocols.contains(Tail.subprotocol) else {
            throw APIError(400, 10021, "Sec-WebSocket-Protocol must offer \(Tail.subprotocol)")
        }
        guard let session = tail.follow() else { throw APIError(409, 10021, "The tail has a client already") }
        var response = LocalResponse(status: 101)
        response.webSocket = WebSocketUpgrade(
            accept: WebSocketHandshake.accept(handshake.key) { Digest.hash($0, with: .sha1) },
            subprotocol: Tail.subprotocol, compression: PerMessageDeflate(handshake.extensions), session: session)
        return response
    }
}
