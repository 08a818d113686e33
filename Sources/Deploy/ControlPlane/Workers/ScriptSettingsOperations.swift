internal import HTTP
internal import Releases

/// What is set of a worker, without its code.
enum ScriptSettingsOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let settings = WorkerOperations.script + "/settings"
        let scriptSettings = WorkerOperations.script + "/script-settings"
        return [
            APIOperation(
                "GET", settings, id: "workers.scripts.settings.get", "Bindings and settings of the newest version",
                .account(.workers, .read), result: .json(ScriptJSON.settingsSchema)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let state = try await runner.script(WorkerOperations.name(call))
                    return .result(ScriptJSON.settings(state, try await runner.kvNamespaceIDs()))
                }
            },
            APIOperation(
                "PATCH", settings, id: "workers.scripts.settings.edit",
                "Changes bindings and settings: a new version, deployed",
                .account(.workers, .edit), body: .stream(about: "A form with the part settings, or the same as JSON."),
                result: .json(ScriptJSON.settingsSchema)
            ) { call in try await edit(call, services) },
            APIOperation(
                "GET", scriptSettings, id: "workers.scripts.script_settings.get", "What holds for all versions",
                .account(.workers, .read), result: .json(ScriptJSON.scriptSettingsSchema)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    .result(ScriptJSON.scriptSettings(try await runner.script(WorkerOperations.name(call)).script))
                }
            },
            APIOperation(
                "PATCH", scriptSettings, id: "workers.scripts.script_settings.edit", "Changes what holds for all versions",
                .account(.workers, .edit), body: .json(.object(UploadMetadata.settingsSchema)),
                result: .json(ScriptJSON.scriptSettingsSchema)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let script = try await runner.change(WorkerOperations.name(call)) { script in
                        script.settings = UploadMetadata.settings(call.json, over: script.settings) ?? script.settings
                    }
                    return .result(ScriptJSON.scriptSettings(script))
                }
            },
        ]
    }

    private static func edit(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        try await WorkerOperations.on(services, call) { runner in
            let name = try WorkerOperations.name(call)
            _ = try await runner.script(name)
            let json = try await read(call, runner)
            let metadata = try UploadMetadata(json, isStrict: true)
            try metadata.checkSettings()
            let annotations = try WorkerOperations.annotations(json["annotations"], triggeredBy: "upload")
            var draft = VersionDraft(WorkerOperations.author(call, services), annotations: annotations, .deployed) { base in
                try await metadata.content(of: name, base, mainModule: nil, isPatch: true, runner)
            }
            draft.settings = { present in UploadMetadata.settings(json, over: present) }
            let state = try await runner.make(draft, of: name)
            return .result(ScriptJSON.settings(state, try await runner.kvNamespaceIDs()))
        }
    }

    private static func read(_ call: APICall, _ runner: ReleaseRunner) async throws -> JSON {
        if call.header("content-type")?.lowercased().hasPrefix("multipart/") == true {
            let form = try await UploadForm.read(call, json: "settings", into: runner.artifactStore)
            guard form.metadata.members != nil else { throw ScriptError(400, 10026, "The form has no part settings") }
            return form.metadata
        }
        var bytes: [UInt8] = []
        while let piece = try await call.body?.next() {
            bytes += piece
            guard bytes.count <= 1 << 20 else { throw ScriptError(413, 10027, "The settings are longer than 1 MiB") }
        }
        guard let json = JSON(bytes), json.members != nil else {
            throw ScriptError(400, 10026, "The settings must be a JSON object")
        }
        return json["settings"] ?? json
    }
}
