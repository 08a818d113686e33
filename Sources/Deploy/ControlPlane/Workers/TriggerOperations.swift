internal import Releases

/// What brings events to a worker: crons and its default host.
enum TriggerOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let schedules = WorkerOperations.script + "/schedules"
        let subdomain = WorkerOperations.script + "/subdomain"
        let schedule = APISchema.object([.required("cron", .string(1...256))])
        let shown = APISchema.object([.required("schedules", .array(schedule))])
        let switches = APISchema.object([.required("enabled", .bool), .required("previews_enabled", .bool)])
        return [
            APIOperation(
                "GET", schedules, id: "workers.scripts.schedules.get", "A Worker's crons", .account(.workers, .read),
                result: .json(shown)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let state = try await runner.script(WorkerOperations.name(call))
                    return .result(json(state.triggers, of: state.script.worker))
                }
            },
            APIOperation(
                "PUT", schedules, id: "workers.scripts.schedules.update", "Replaces all crons of a Worker",
                .account(.workers, .edit), body: .json(.array(schedule, 0...250)), result: .json(shown)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let worker = try WorkerOperations.name(call)
                    _ = try await runner.script(worker)
                    let crons = (call.json.items ?? []).compactMap { $0["cron"]?.text }
                    let triggers = try await runner.setCrons(crons, of: worker)
                    return .result(json(triggers, of: worker))
                }
            },
            APIOperation(
                "GET", subdomain, id: "workers.scripts.subdomain.get", "Whether a Worker answers on its default host",
                .account(.workers, .read), result: .json(switches)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    .result(json(try await runner.script(WorkerOperations.name(call)).script))
                }
            },
            APIOperation(
                "POST", subdomain, id: "workers.scripts.subdomain.create", "Switches a Worker's default host",
                .account(.workers, .edit),
                body: .json(.object([.required("enabled", .bool), .optional("previews_enabled", .nullable(.bool))])),
                result: .json(switches), isIdempotent: true
            ) { call in
                let (enabled, previews) = (call.json["enabled"]?.bool ?? false, call.json["previews_enabled"]?.bool)
                return try await set(call, services, enabled, previews)
            },
            APIOperation(
                "DELETE", subdomain, id: "workers.scripts.subdomain.delete", "Switches a Worker's default host off",
                .account(.workers, .edit), result: .json(switches)
            ) { call in try await set(call, services, false, false) },
        ]
    }

    private static func set(
        _ call: APICall, _ services: APIServices, _ enabled: Bool, _ previews: Bool?
    ) async throws -> APIReply {
        try await WorkerOperations.on(services, call) { runner in
            let script = try await runner.change(WorkerOperations.name(call)) { script in
                script.hasDefaultHost = enabled
                if let previews { script.hasPreviews = previews }
            }
            return .result(json(script))
        }
    }

    private static func json(_ script: ScriptRecord) -> JSON {
        .object(["enabled": .bool(script.hasDefaultHost), "previews_enabled": .bool(script.hasPreviews)])
    }

    private static func json(_ triggers: [ScriptTrigger], of worker: String) -> JSON {
        .object([
            "schedules": .array(
                triggers.filter { $0.kind == .cron && $0.worker == worker }.map { trigger in
                    .object([
                        "cron": .string(trigger.value), "created_on": ScriptJSON.time(trigger.createdAt),
                        "modified_on": ScriptJSON.time(trigger.modifiedAt),
                    ])
                })
        ])
    }
}
