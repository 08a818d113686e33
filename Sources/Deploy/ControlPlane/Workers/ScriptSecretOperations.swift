internal import HTTP
internal import Releases

/// Secrets of a worker: each change is a new version, which is deployed. Their texts go in and never come out.
enum ScriptSecretOperations {
    private static let secretSchema = APISchema.object([.required("name", .string()), .required("type", .string())])

    static func all(_ services: APIServices) -> [APIOperation] {
        let secrets = WorkerOperations.script + "/secrets"
        let encoded = APIOperation.Parameter("url_encoded", .bool, "Whether the name is percent-encoded twice.")
        return [
            APIOperation(
                "GET", secrets, id: "workers.scripts.secrets.list", "The names of a Worker's secrets",
                .account(.workers, .read),
                result: .json(.array(secretSchema))
            ) { call in
                let state = try await WorkerOperations.on(services, call) { try await $0.script(WorkerOperations.name(call)) }
                return .result(.array(state.version.snapshot.secrets.map { ScriptJSON.secret($0.name) }))
            },
            APIOperation(
                "PUT", secrets, id: "workers.scripts.secrets.update", "Sets a secret: a new version, deployed",
                .account(.workers, .edit),
                body: .json(
                    .object([
                        .required("name", .string(1...128)), .optional("text", .nullable(.string())),
                        .optional("type", .nullable(.string())),
                    ])), result: .json(secretSchema)
            ) { call in
                let name = call.json["name"]?.text ?? ""
                try await change(call, services, [name: call.json])
                return .result(ScriptJSON.secret(name))
            },
            APIOperation(
                "PATCH", WorkerOperations.script + "/secrets-bulk", id: "workers.scripts.secrets.bulk_update",
                "Sets and deletes secrets: one new version, deployed", .account(.workers, .edit),
                body: .json(
                    .object([
                        .required("secrets", .map(.nullable(.object([.optional("text", .string())])))),
                        .optional("version_tags", .nullable(.map(.string()))),
                    ]), bytesMax: 4 << 20),
                result: .json(.map(.nullable(secretSchema)))
            ) { call in
                let wanted = call.json["secrets"]?.members ?? []
                try await change(call, services, Dictionary(wanted.map { ($0.name, $0.value) }) { _, last in last })
                return .result(
                    .object(wanted.filter { $0.value != .null }.map { .init(name: $0.name, value: ScriptJSON.secret($0.name)) })
                )
            },
            APIOperation(
                "GET", secrets + "/{secret_name}", id: "workers.scripts.secrets.get", "A secret's name and type",
                .account(.workers, .read), query: [encoded], result: .json(secretSchema)
            ) { call in
                let name = secretName(call)
                let state = try await WorkerOperations.on(services, call) { try await $0.script(WorkerOperations.name(call)) }
                guard state.version.snapshot.secrets.contains(where: { $0.name == name }) else { throw unknown(name) }
                return .result(ScriptJSON.secret(name))
            },
            APIOperation(
                "DELETE", secrets + "/{secret_name}", id: "workers.scripts.secrets.delete",
                "Deletes a secret: a new version, deployed", .account(.workers, .edit), query: [encoded],
                result: .json(.nullable(.any))
            ) { call in
                try await change(call, services, [secretName(call): .null])
                return .result(.null)
            },
        ]
    }

    private static func secretName(_ call: APICall) -> String {
        let name = call.parameters["secret_name"] ?? ""
        return call.queryValue("url_encoded") == "true" ? PercentEncoding.decode(name) : name
    }

    private static func unknown(_ name: String) -> APIError { APIError(404, 10056, "Binding '\(name.prefix(128))' not found") }

    /// - Parameter wanted: names with what a client sent; `null` deletes.
    private static func change(_ call: APICall, _ services: APIServices, _ wanted: [String: JSON]) async throws {
        try await WorkerOperations.on(services, call) { runner in
            let worker = try WorkerOperations.name(call)
            _ = try await runner.script(worker)
            var values: [(name: String, value: String)] = []
            for (name, json) in wanted.sorted(by: { $0.key < $1.key }) where json != .null {
                guard !name.isEmpty, json["type"].map({ $0 == "secret_text" || $0 == .null }) ?? true else {
                    throw ScriptError.invalid("secrets of this node have the type secret_text")
                }
                guard let text = json["text"]?.text else { throw ScriptError.invalid("secret \(name) must have a text") }
                guard text.utf8.count <= 5 * 1024 else {
                    throw ScriptError.invalid("secret \(name) has \(text.utf8.count) bytes; 5120 are possible")
                }
                values.append((name, text))
            }
            let deleted = Set(wanted.filter { $0.value == .null }.keys)
            let fresh = values
            var draft = VersionDraft(
                WorkerOperations.author(call, services), annotations: ["workers/triggered_by": "secret"], .deployed
            ) { base in
                var snapshot = base?.snapshot ?? VersionSnapshot()
                for name in deleted where !snapshot.secrets.contains(where: { $0.name == name }) {
                    throw ScriptError(404, 10056, "Binding '\(name.prefix(128))' not found")
                }
                let others = Set(snapshot.bindings.map(\.name) + snapshot.variables.map(\.name))
                if let taken = fresh.first(where: { others.contains($0.name) }) {
                    throw ScriptError(400, 10053, "Binding name '\(taken.name)' already in use.")
                }
                snapshot.secrets.removeAll { deleted.contains($0.name) }
                snapshot.tag = ""
                return VersionDraft.Content(snapshot, secrets: fresh)
            }
            draft.editsDeployed = true
            _ = try await runner.make(draft, of: worker)
        }
    }
}
