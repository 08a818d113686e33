internal import Host
internal import Releases
internal import System

/// Releases: what was in service, what is, and the way back to one.
enum ReleaseOperations {
    private static let releases = "/accounts/{account_id}/edge/releases"
    private static let rollback = "/accounts/{account_id}/edge/rollback"

    static func all(_ services: APIServices) -> [APIOperation] {
        let slots = APISchema.object([
            .required("environment", .string()), .required("tenant", .string()),
            .required("active", .nullable(DeploymentJSON.number)), .required("candidate", .nullable(DeploymentJSON.number)),
            .required("percent", .integer(0...100)), .required("warm", .array(DeploymentJSON.number)),
            .required("deployment", .nullable(DeploymentJSON.deploymentSchema)),
        ])
        let preview = APISchema.object([
            .required("release", DeploymentJSON.number), .required("restorable", .bool),
            .required("reason", .nullable(.string())),
            .required(
                "lost_commits",
                .array(.object([.required("database", .string()), .required("commits", .integer(0...Int64.max))]))),
        ])
        return [
            APIOperation(
                "GET", releases, id: "edge.releases.list", "Releases, the newest first", .account(.workers, .read),
                query: Page<ReleaseRecord>.parameters, result: .json(.array(DeploymentJSON.releaseSchema))
            ) { call in
                try await services.onDeployments(call) { control in
                    let slots = await control.slots()
                    return Page(try await control.releases(max: 10_000), call).reply { release in
                        DeploymentJSON.json(release, status: status(release.number, slots))
                    }
                }
            },
            APIOperation(
                "GET", releases + "/{number}", id: "edge.releases.get", "A release", .account(.workers, .read),
                result: .json(DeploymentJSON.releaseSchema)
            ) { call in
                try await services.onDeployments(call) { control in
                    let release = try await control.release(ReleaseDeploymentOperations.number(call))
                    return .result(DeploymentJSON.json(release, status: status(release.number, await control.slots())))
                }
            },
            APIOperation(
                "GET", releases + "/{number}/configuration", id: "edge.releases.configuration",
                "What a release was made from: the files of its configuration, and each setting with its origin",
                .account(.workers, .read),
                result: .json(
                    .object([
                        .required("environment", .string()),
                        .required(
                            "files", .array(.object([.required("name", .string()), .required("text", .string())]))),
                        .required("settings", .array(.any)), .required("artifacts", .map(.string())),
                    ]))
            ) { call in try await configuration(call, services) },
            APIOperation(
                "GET", rollback, id: "edge.rollback.preview",
                "Which release a rollback leads to, and what a restore of the data would lose", .account(.workers, .read),
                query: [.init("release", DeploymentJSON.number, "The release; the one that was active before.")],
                result: .json(preview)
            ) { call in
                try await services.onDeployments(call) { control in
                    let wanted = call.queryValue("release").flatMap { Int64($0) }
                    return .result(try await previewed(wanted, control))
                }
            },
            APIOperation(
                "POST", rollback, id: "edge.rollback.create", "Goes back to a release that was active before",
                .account(.workers, .edit),
                body: .json(.object(DeploymentJSON.optionFields + [.optional("release", .nullable(DeploymentJSON.number))])),
                result: .json(DeploymentJSON.deploymentSchema)
            ) { call in
                try await services.onDeployments(call) { control in
                    let record = try await control.rollBack(
                        to: call.json["release"]?.integer, DeploymentJSON.options(call.json),
                        by: WorkerOperations.author(call, services))
                    return .result(DeploymentJSON.json(record))
                }
            },
            APIOperation(
                "GET", "/accounts/{account_id}/edge/slots", id: "edge.slots.get", "Which releases are in service",
                .account(.workers, .read), result: .json(slots), isPolled: true
            ) { call in
                try await services.onDeployments(call) { control in
                    let (active, candidate, warm) = await control.slots()
                    let newest = try await control.deployments(max: 1).first
                    return .result(
                        .object([
                            "environment": .string(try services.releaseServices().environment),
                            "tenant": .string(call.tenant ?? ""), "active": active.map { .integer($0) } ?? .null,
                            "candidate": candidate.map { .integer($0) } ?? .null,
                            "percent": .integer(candidate == nil ? 0 : Int64(newest?.percent ?? 0)),
                            "warm": .array(warm.map { .integer($0) }),
                            "deployment": newest.map(DeploymentJSON.json) ?? .null,
                        ]))
                }
            },
        ]
    }

    private static func status(
        _ number: Int64, _ slots: (active: Int64?, candidate: Int64?, warm: [Int64])
    ) -> String? {
        if slots.active == number { return "active" }
        if slots.candidate == number { return "candidate" }
        return slots.warm.contains(number) ? "warm" : nil
    }

    /// The release that a rollback leads to: the one that is asked for, else the one that was active before.
    private static func previewed(_ wanted: Int64?, _ control: any DeploymentControl) async throws -> JSON {
        let active = await control.slots().active
        var release = wanted
        if release == nil {
            release = try await control.deployments(max: 1000).first { $0.release == active && $0.state.isPastSwitch }?.previous
        }
        guard let release else { throw DeploymentError.notNow("there is no release to go back to: none was active before") }
        guard release != active else { throw DeploymentError.notNow("release \(release) is the one that serves") }
        _ = try await control.release(release)
        var lost: [(database: String, count: Int)] = []
        var reason: String?
        do throws(DeploymentError) { lost = try await control.lostCommits(rollingBackTo: release) } catch {
            // That the data can't go back doesn't keep the code from it.
            guard case .failed(let failure) = error else { throw error }
            reason = failure.description
        }
        return .object([
            "release": .integer(release), "restorable": .bool(reason == nil), "reason": reason.map { .string($0) } ?? .null,
            "lost_commits": .array(
                lost.map { .object(["database": .string($0.database), "commits": .integer(Int64($0.count))]) }),
        ])
    }

    private static func configuration(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        try await services.onDeployments(call) { control in
            let release = try await control.release(ReleaseDeploymentOperations.number(call))
            let kept = try services.releaseServices()
            guard !release.bundle.isEmpty, let hold = kept.bundles.find(release.bundle) else {
                throw APIError(
                    404, ReleaseFailure.unknown, "Release \(release.number) was made by changes of single workers: it has no files")
            }
            let environment = kept.environment
            return .result(
                try await services.disk.run { () throws -> JSON in
                    let bundle = hold.bundle
                    let settings = try bundle.configuration(of: environment).settings
                    return .object([
                        "environment": .string(environment),
                        "files": .array(
                            try bundle.configurationFiles().map {
                                .object(["name": .string($0.name), "text": .string($0.text)])
                            }),
                        "settings": .array(settings.map { .verbatim(Array($0.json.utf8)) }),
                        "artifacts": .object(
                            try bundle.artifacts().sorted { $0.key < $1.key }.map {
                                JSON.Member(name: $0.key, value: .string($0.value))
                            }),
                    ])
                })
        }
    }
}
