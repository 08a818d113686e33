internal import Host
internal import HTTP
internal import Releases
internal import Stores
internal import System

/// Workers as a whole: upload, code, list, deletion.
enum ScriptOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let script = WorkerOperations.script
        return [
            APIOperation(
                "GET", "/accounts/{account_id}/workers/scripts", id: "workers.scripts.list", "The account's Workers",
                .account(.workers, .read), query: [.init("tags", .string(), "`TAG:yes,TAG:no`")],
                result: .json(.array(ScriptJSON.scriptSchema))
            ) { call in try await list(call, services) },
            APIOperation(
                "GET", "/accounts/{account_id}/workers/scripts-search", id: "workers.scripts.search", "Workers by name",
                .account(.workers, .read),
                query: Page<ScriptState>.parameters + [
                    .init("name", .string(), "A part of the name."), .init("id", .string(), "The Worker's tag."),
                    .init("order_by", .choice(["name", "created_on", "modified_on"]), "What the list is sorted by."),
                ], result: .json(.array(.object([.required("id", .string()), .required("script_name", .string())])))
            ) { call in try await search(call, services) },
            APIOperation(
                "PUT", script, id: "workers.scripts.update", "Uploads a Worker and deploys it", .account(.workers, .edit),
                query: [.init("bindings_inherit", .choice(["strict"]), "Refuse what can't be inherited.")],
                body: .stream(about: "A form: metadata, and the Worker's executable."), result: .json(ScriptJSON.scriptSchema)
            ) { call in
                let state = try await upload(call, services, .deployed)
                return .result(ScriptJSON.script(state, tenant: call.tenant ?? ""))
            },
            APIOperation(
                "GET", script, id: "workers.scripts.get", "The executable that is deployed", .account(.workers, .read),
                result: .raw(about: "The executable.")
            ) { call in try await code(call, services) },
            APIOperation(
                "GET", script + "/content/v2", id: "workers.scripts.content.get", "The executable that is deployed",
                .account(.workers, .read), result: .raw(about: "The executable.")
            ) { call in try await code(call, services) },
            APIOperation(
                "PUT", script + "/content", id: "workers.scripts.content.update", "Replaces the code and keeps all else",
                .account(.workers, .edit), body: .stream(about: "A form: metadata, and the Worker's executable."),
                result: .json(ScriptJSON.scriptSchema)
            ) { call in
                .result(ScriptJSON.script(try await replaceCode(call, services), tenant: call.tenant ?? ""))
            },
            APIOperation(
                "DELETE", script, id: "workers.scripts.delete", "Deletes a Worker, its versions and its routes",
                .account(.workers, .edit), query: [.init("force", .bool, "Also when other Workers bind to it.")],
                result: .json(.nullable(.any))
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    try await runner.delete(WorkerOperations.name(call), force: call.queryValue("force") == "true")
                }
                return .result(.null)
            },
        ]
    }

    // MARK: Making

    /// Reads an upload and makes a version of it.
    static func upload(
        _ call: APICall, _ services: APIServices, _ rollout: VersionDraft.Rollout
    ) async throws -> ScriptState {
        try await WorkerOperations.on(services, call) { runner in
            let name = try WorkerOperations.name(call)
            let form = try await UploadForm.read(call, json: "metadata", into: runner.artifactStore)
            let metadata = try UploadMetadata(form.metadata, isStrict: call.queryValue("bindings_inherit") == "strict")
            try metadata.checkSettings()
            let annotations = try WorkerOperations.annotations(
                form.metadata["annotations"], triggeredBy: rollout == .deployed ? "upload" : "version_upload")
            if let alias = annotations["workers/alias"], let problem = VersionAlias.problem(with: alias, of: name) {
                throw ScriptError.invalid(problem)
            }
            let code = try await form.code()
            var draft = VersionDraft(
                WorkerOperations.author(call, services), annotations: annotations, artifact: code.artifact, rollout
            ) { base in
                try await metadata.content(
                    of: name, base, mainModule: code.name, isPatch: call.queryValue("inherit") == "all", runner)
            }
            draft.migrations = metadata.migrations
            if rollout == .deployed {
                let json = form.metadata
                draft.settings = { present in UploadMetadata.settings(json, over: present) }
            }
            return try await runner.make(draft, of: name)
        }
    }

    private static func replaceCode(_ call: APICall, _ services: APIServices) async throws -> ScriptState {
        try await WorkerOperations.on(services, call) { runner in
            let name = try WorkerOperations.name(call)
            _ = try await runner.script(name)
            let form = try await UploadForm.read(call, json: "metadata", into: runner.artifactStore)
            let code = try await form.code()
            let draft = VersionDraft(
                WorkerOperations.author(call, services), annotations: ["workers/triggered_by": "upload"],
                artifact: code.artifact, .deployed
            ) { base in
                var snapshot = base?.snapshot ?? VersionSnapshot()
                snapshot.mainModule = code.name
                snapshot.tag = ""
                return VersionDraft.Content(snapshot)
            }
            return try await runner.make(draft, of: name)
        }
    }

    // MARK: Reading

    private static func list(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let filters = (call.queryValue("tags") ?? "").split(separator: ",").map { filter in
            let halves = filter.split(separator: ":", maxSplits: 1).map(String.init)
            return (tag: halves.first ?? "", isWanted: halves.count < 2 || halves[1] != "no")
        }
        let states = try await WorkerOperations.on(services, call) { try await $0.scripts() }.filter { state in
            let tags = ScriptJSON.setting(state.script.settings, "tags")?.items?.compactMap(\.text) ?? []
            return filters.allSatisfy { tags.contains($0.tag) == $0.isWanted }
        }
        return .result(.array(states.map { ScriptJSON.script($0, tenant: call.tenant ?? "") }))
    }

    private static func search(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let tenant = call.tenant ?? ""
        var states = try await WorkerOperations.on(services, call) { try await $0.scripts() }.filter { state in
            if let id = call.queryValue("id") { return ScriptJSON.tag(state.script, tenant: tenant) == id }
            guard let name = call.queryValue("name")?.lowercased(), !name.isEmpty else { return true }
            return state.script.worker.contains(name)
        }
        switch call.queryValue("order_by") {
        case "created_on": states.sort { $0.script.createdAt.milliseconds > $1.script.createdAt.milliseconds }
        case "modified_on": states.sort { $0.script.modifiedAt.milliseconds > $1.script.modifiedAt.milliseconds }
        default: break
        }
        return Page(states, call, sizeDefault: 10).reply { state in
            .object([
                "id": .string(ScriptJSON.tag(state.script, tenant: tenant)), "script_name": .string(state.script.worker),
                "service_name": .string(state.script.worker), "environment_name": "production",
                "environment_is_default": true, "created_on": ScriptJSON.time(state.script.createdAt),
                "modified_on": ScriptJSON.time(state.script.modifiedAt),
                "script_tag": .string(ScriptJSON.tag(state.script, tenant: tenant)),
            ])
        }
    }

    private static func code(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        try await WorkerOperations.on(services, call) { runner in
            let state = try await runner.script(WorkerOperations.name(call))
            let version = state.live?.primary ?? state.version
            let store = runner.artifactStore
            // Held, or a change could take the file away before it is open.
            let hold = store.hold(version.artifact)
            let slice = try await store.disk.run { () throws(SystemError) -> FileSlice in try store.open(hold.hash) }
            return .raw(
                LocalResponse(
                    status: 200,
                    headers: [
                        ("content-type", "application/octet-stream"), ("etag", "\"\(version.artifact)\""),
                        ("cf-entrypoint", version.snapshot.mainModule),
                    ], body: .file(slice)))
        }
    }
}
