internal import Releases

/// Versions: what can be deployed.
enum VersionOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let versions = WorkerOperations.script + "/versions"
        return [
            APIOperation(
                "GET", versions, id: "workers.scripts.versions.list", "A Worker's versions, the newest first",
                .account(.workers, .read),
                query: Page<ScriptVersion>.parameters + [.init("deployable", .bool, "All that can be deployed, on one page.")],
                result: .json(.object([.required("items", .array(ScriptJSON.versionSchema))]))
            ) { call in try await list(call, services) },
            APIOperation(
                "POST", versions, id: "workers.scripts.versions.create", "Uploads a version without deploying it",
                .account(.workers, .edit),
                query: [
                    .init("bindings_inherit", .choice(["strict"]), "Refuse what can't be inherited."),
                    .init("inherit", .choice(["all"]), "What the metadata doesn't name is as in the newest version."),
                ],
                body: .stream(about: "A form: metadata, and the Worker's executable."), result: .json(ScriptJSON.versionSchema)
            ) { call in
                let state = try await ScriptOperations.upload(call, services, .undeployed)
                return try await WorkerOperations.on(services, call) { runner in
                    let json = ScriptJSON.version(state.version, state.script, try await runner.kvNamespaceIDs())
                    let hosts = await runner.previewHosts(of: state.version, state.script)
                    let members = zip(["preview_host", "preview_alias_host"], hosts).map { name, host in
                        JSON.Member(name: name, value: .string(host))
                    }
                    return .result(.object((json.members ?? []) + members))
                }
            },
            APIOperation(
                "GET", versions + "/{version_id}", id: "workers.scripts.versions.get", "A version", .account(.workers, .read),
                result: .json(ScriptJSON.versionSchema)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let name = try WorkerOperations.name(call)
                    let state = try await runner.script(name)
                    let id = (call.parameters["version_id"] ?? "").lowercased()
                    guard let version = try await runner.read({ try $0.version(id, of: name) }) else {
                        throw ScriptError.unknownVersion(id)
                    }
                    return .result(ScriptJSON.version(version, state.script, try await runner.kvNamespaceIDs()))
                }
            },
        ]
    }

    private static func list(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        try await WorkerOperations.on(services, call) { runner in
            let name = try WorkerOperations.name(call)
            let state = try await runner.script(name)
            let all = try await runner.read { try $0.versions(of: name) }
            let namespaces = try await runner.kvNamespaceIDs()
            func json(_ version: ScriptVersion) -> JSON { ScriptJSON.version(version, state.script, namespaces) }
            if call.queryValue("deployable") == "true" {
                let deployable = all.filter { $0.number >= state.script.nextNumber - ReleaseStore.deployableMax }
                return .result(.object(["items": .array(deployable.map(json))]))
            }
            let page = Page(all, call)
            return .result(.object(["items": .array(page.items.map(json))]), info: page.info)
        }
    }
}

/// Deployments: which versions get requests.
enum DeploymentOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let deployments = WorkerOperations.script + "/deployments"
        let one = deployments + "/{deployment_id}"
        let share = APISchema.object([.required("version_id", .string(1...64)), .required("percentage", .number)])
        return [
            APIOperation(
                "GET", deployments, id: "workers.scripts.deployments.list", "A Worker's deployments, the newest first",
                .account(.workers, .read),
                query: Page<ScriptDeployment>.parameters + [
                    .init("since", .string(), "Made at this time or later."),
                    .init("until", .string(), "Made before this time."),
                ], result: .json(.object([.required("deployments", .array(ScriptJSON.deploymentSchema))]))
            ) { call in try await list(call, services) },
            APIOperation(
                "POST", deployments, id: "workers.scripts.deployments.create", "Gives versions their shares of requests",
                .account(.workers, .edit),
                query: [.init("force", .bool, "Also when that takes back secrets that were changed since.")],
                body: .json(
                    .object([
                        .required("strategy", .choice(["percentage"])), .required("versions", .array(share, 1...20)),
                        .optional("annotations", .nullable(.map(.string()))), .optional("force", .nullable(.bool)),
                    ])), result: .json(ScriptJSON.deploymentSchema)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let annotations = try WorkerOperations.annotations(call.json["annotations"], triggeredBy: "deployment")
                    let deployment = try await runner.deploy(
                        WorkerOperations.name(call), shares(call.json["versions"]?.items ?? []), annotations,
                        by: WorkerOperations.author(call, services),
                        force: call.queryValue("force") == "true" || call.json["force"]?.bool == true)
                    return .result(ScriptJSON.deployment(deployment))
                }
            },
            APIOperation(
                "GET", one, id: "workers.scripts.deployments.get", "A deployment", .account(.workers, .read),
                result: .json(ScriptJSON.deploymentSchema)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let name = try WorkerOperations.name(call)
                    _ = try await runner.script(name)
                    let id = (call.parameters["deployment_id"] ?? "").lowercased()
                    guard let found = try await runner.read({ try $0.deployments(of: name) }).first(where: { $0.id == id })
                    else {
                        throw ScriptError.unknownDeployment
                    }
                    return .result(ScriptJSON.deployment(found))
                }
            },
            APIOperation(
                "DELETE", one, id: "workers.scripts.deployments.delete", "Takes a past deployment out of the history",
                .account(.workers, .edit), result: .json(.any)
            ) { call in
                try await WorkerOperations.on(services, call) { runner in
                    let id = (call.parameters["deployment_id"] ?? "").lowercased()
                    try await runner.delete(deployment: id, of: WorkerOperations.name(call))
                }
                return .noResult
            },
        ]
    }

    /// Steps of a hundredth, 100 in all.
    static func shares(_ items: [JSON]) throws(ScriptError) -> [ScriptDeployment.Share] {
        var shares: [ScriptDeployment.Share] = []
        for item in items {
            let (id, percentage) = ((item["version_id"]?.text ?? "").lowercased(), item["percentage"]?.number ?? -1)
            let points = (percentage * 100).rounded()
            guard (0...100).contains(percentage), abs(points - percentage * 100) < 1e-6 else {
                throw .invalid("a percentage is a number from 0 to 100 in steps of 0.01, not \(percentage)")
            }
            guard !shares.contains(where: { $0.versionID == id }) else {
                throw .invalid("version \(id.prefix(64)) is there twice")
            }
            shares.append(.init(versionID: id, basisPoints: Int(points)))
        }
        let sum = shares.reduce(0) { $0 + $1.basisPoints }
        guard sum == 10_000 else { throw .invalid("the percentages must add up to 100, not to \(Double(sum) / 100)") }
        return shares
    }

    private static func list(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        try await WorkerOperations.on(services, call) { runner in
            let name = try WorkerOperations.name(call)
            _ = try await runner.script(name)
            func isWithin(_ deployment: ScriptDeployment) -> Bool {
                let text = ScriptJSON.time(deployment.createdAt).text ?? ""
                return (call.queryValue("since").map { text >= $0 } ?? true)
                    && (call.queryValue("until").map { text < $0 } ?? true)
            }
            let all = try await runner.read { try $0.deployments(of: name) }.filter(isWithin)
            let page = Page(all, call, sizeDefault: 10)
            let items = JSON.array(page.items.map(ScriptJSON.deployment))
            // The product answers with `deployments`; SDKs page through `items` until there are none.
            return .result(
                .object(["deployments": items, "items": page.number == 1 ? items : .array([])]), info: page.info)
        }
    }
}
