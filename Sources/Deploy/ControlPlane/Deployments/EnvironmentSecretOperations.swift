internal import Releases
internal import System

/// The secrets of an environment, as the next deployment takes them: a change touches no version that there is.
enum EnvironmentSecretOperations {
    private static let secrets = "/accounts/{account_id}/edge/secrets"

    static func all(_ services: APIServices) -> [APIOperation] {
        let worker = APIOperation.Parameter("worker", .string(1...63), "Of this worker alone; of all.")
        let shown = APISchema.object([.required("name", .string()), .required("worker", .nullable(.string()))])
        return [
            APIOperation(
                "GET", secrets, id: "edge.secrets.list", "The names of the environment's secrets", .account(.workers, .read),
                result: .json(.array(shown))
            ) { call in
                let store = try store(call, services)
                let found = try await services.disk.run { () throws -> [(worker: String, name: String)] in try store.list() }
                return .result(.array(found.map { json($0.name, $0.worker) }))
            },
            APIOperation(
                "PUT", secrets, id: "edge.secrets.update", "Sets a secret for the next deployment", .account(.workers, .edit),
                body: .json(
                    .object([
                        .required("name", .string(1...128)), .required("text", .string(1...(5 * 1024))),
                        .optional("worker", .nullable(.string(1...63))),
                    ])), result: .json(shown)
            ) { call in
                let name = call.json["name"]?.text ?? ""
                let owner = owner(call.json["worker"]?.text)
                try await change([(name, call.json["text"]?.text)], of: owner, call, services)
                return .result(json(name, owner))
            },
            APIOperation(
                "PATCH", secrets, id: "edge.secrets.bulk_update", "Sets and deletes secrets for the next deployment, all or none",
                .account(.workers, .edit),
                body: .json(
                    .object([
                        .required("secrets", .map(.nullable(.string(1...(5 * 1024))))),
                        .optional("worker", .nullable(.string(1...63))),
                    ]), bytesMax: 4 << 20), result: .json(.array(shown))
            ) { call in
                let owner = owner(call.json["worker"]?.text)
                let wanted = (call.json["secrets"]?.members ?? []).map { (name: $0.name, value: $0.value.text) }
                try await change(wanted, of: owner, call, services)
                return .result(.array(wanted.filter { $0.value != nil }.map { json($0.name, owner) }))
            },
            APIOperation(
                "DELETE", secrets + "/{secret_name}", id: "edge.secrets.delete", "Deletes a secret, for the next deployment",
                .account(.workers, .edit), query: [worker], result: .json(.nullable(.any))
            ) { call in
                try await change(
                    [(call.parameters["secret_name"] ?? "", nil)], of: owner(call.queryValue("worker")), call, services)
                return .result(.null)
            },
        ]
    }

    /// Under which the secrets of all workers are kept.
    private static func owner(_ worker: String?) -> String { worker ?? "*" }

    private static func json(_ name: String, _ owner: String) -> JSON {
        .object(["name": .string(name), "worker": owner == "*" ? .null : .string(owner)])
    }

    private static func store(_ call: APICall, _ services: APIServices) throws -> SecretStore {
        let kept = try services.releaseServices()
        guard let store = try kept.secrets(call.tenant ?? "") else {
            throw APIError(400, 10021, "in \(kept.environment), secrets come from .dev.vars")
        }
        return store
    }

    private static func change(
        _ wanted: [(name: String, value: String?)], of owner: String, _ call: APICall, _ services: APIServices
    ) async throws {
        for (name, _) in wanted where !isName(name) {
            throw APIError(400, 10021, "\"\(name.prefix(128))\" is no name of a secret: letters, digits and _, no digit first")
        }
        // The sign is that of versions' own secrets.
        guard !owner.contains("@") else { throw APIError(400, 10016, "Invalid Worker name \"\(owner.prefix(64))\"") }
        let (store, now) = (try store(call, services), services.clock.wallTime())
        do {
            let missing = try await services.disk.run { () throws -> [String] in try store.change(wanted, of: owner, at: now) }
            guard missing.isEmpty else {
                throw APIError(404, 10056, "There is no secret \(missing.joined(separator: ", "))")
            }
        } catch let error as SecretError { throw APIError(400, 10021, "\(error)") }
    }

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 128
            && text.utf8.enumerated().allSatisfy { position, byte in
                switch byte {
                case 0x41...0x5A, 0x61...0x7A, 0x5F: true
                case 0x30...0x39: position > 0
                default: false
                }
            }
    }
}
