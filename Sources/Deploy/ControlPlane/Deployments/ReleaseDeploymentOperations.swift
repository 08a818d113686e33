internal import Host
internal import Releases
internal import Stores
internal import System

/// Deployments of whole releases: what brings a bundle into service, step by step, and how far that has come.
enum ReleaseDeploymentOperations {
    private static let deployments = "/accounts/{account_id}/edge/deployments"
    private static let one = deployments + "/{number}"
    static let vote = "/accounts/{account_id}/edge/coordination/{coordination_id}"

    static func all(_ services: APIServices) -> [APIOperation] {
        let asked = APISchema.object([
            .required("changed", .bool), .required("deployment", .nullable(DeploymentJSON.deploymentSchema)),
            .required("plan", .nullable(DeploymentJSON.planSchema)),
        ])
        return [
            APIOperation(
                "GET", deployments, id: "edge.deployments.list", "Deployments of releases, the newest first",
                .account(.workers, .read), query: Page<DeploymentRecord>.parameters,
                result: .json(.array(DeploymentJSON.deploymentSchema))
            ) { call in
                try await services.onDeployments(call) { control in
                    Page(try await control.deployments(max: 10_000), call).reply(DeploymentJSON.json)
                }
            },
            APIOperation(
                "POST", deployments, id: "edge.deployments.create",
                "Begins to bring a bundle into service; dry_run only tells what that would do", .account(.workers, .edit),
                body: .stream(
                    about: "A form: options, JSON, and bundle, a tape archive. Or JSON that names a bundle the node has.",
                    type: "multipart/form-data"),
                result: .json(asked)
            ) { call in try await create(call, services) },
            APIOperation(
                "GET", one, id: "edge.deployments.get", "A deployment, and how far it has come", .account(.workers, .read),
                result: .json(DeploymentJSON.deploymentSchema), isPolled: true
            ) { call in
                try await services.onDeployments(call) { control in
                    .result(DeploymentJSON.json(try await control.deployment(number(call))))
                }
            },
            APIOperation(
                "GET", one + "/events", id: "edge.deployments.events", "What a deployment did, from its beginning on",
                .account(.workers, .read),
                query: [
                    .init("after", .integer(0...Int64.max), "Only those behind the one of this sequence."),
                    .init("wait", .bool, "Answers when there is one, at the latest after some seconds."),
                ],
                result: .json(.array(DeploymentJSON.eventSchema)), isPolled: true
            ) { call in try await events(call, services) },
            APIOperation(
                "GET", one + "/events/stream", id: "edge.deployments.events_stream",
                "The same, a line of JSON for each event as it comes, until the deployment has ended",
                .account(.workers, .read),
                result: .raw(about: "Lines of JSON.")
            ) { call in
                try await services.onDeployments(call) { control in
                    let number = try number(call)
                    _ = try await control.deployment(number)
                    let stream = DeploymentEventStream(control, number, after: after(call))
                    return .raw(
                        LocalResponse(
                            status: 200, headers: [("content-type", "application/x-ndjson"), ("cache-control", "no-store")],
                            body: .stream(stream)))
                }
            },
            APIOperation(
                "GET", one + "/report", id: "edge.deployments.report", "What became of requests, before, while and after",
                .account(.workers, .read), result: .json(.any)
            ) { call in
                try await services.onDeployments(call) { control in
                    let number = try number(call)
                    _ = try await control.deployment(number)
                    let text = try await control.report(of: number)
                    return .result(text.flatMap { JSON(Array($0.utf8)) } ?? .null)
                }
            },
            change("abort", "Stops a deployment: the release that served before it goes on", services) {
                try await $0.abort($1, by: $2)
            },
            change("resume", "Lets a deployment go on that waits", services) { try await $0.resume($1, by: $2) },
            change("promote", "Takes a deployment to its end without further checks", services) {
                try await $0.promote($1, by: $2)
            },
            word("hold", "Tells a node of several that the others are still being seen to: renews its lease", services) {
                control, number, id, _ in try await control.hold(number, id)
            },
            word("switch", "Has a node of several, which is prepared, serve the release; on probation", services) {
                try await $0.switchOver($1, $2, by: $3)
            },
            word("confirm", "Tells a node of several that all of them serve the release: it is to stay", services) {
                control, number, id, _ in try await control.confirm(number, id)
            },
            APIOperation(
                "GET", vote, id: "edge.coordination.vote",
                "How far a deployment of several nodes has come on this one; for the others, which know its id", .everybody,
                result: .json(DeploymentJSON.voteSchema), isPolled: true
            ) { call in try await answerPeer(call, services) },
        ]
    }

    private static func change(
        _ verb: String, _ summary: String, _ services: APIServices,
        _ body: @escaping @Sendable (any DeploymentControl, Int64, ScriptAuthor) async throws -> Void
    ) -> APIOperation {
        APIOperation(
            "POST", one + "/" + verb, id: "edge.deployments.\(verb)", summary, .account(.workers, .edit),
            result: .json(DeploymentJSON.deploymentSchema)
        ) { call in
            try await services.onDeployments(call) { control in
                let number = try number(call)
                try await body(control, number, services.deployer(call))
                return .result(DeploymentJSON.json(try await control.deployment(number)))
            }
        }
    }

    /// What may be said again when nobody knows what became of it.
    private static func word(
        _ verb: String, _ summary: String, _ services: APIServices,
        _ body: @escaping @Sendable (any DeploymentControl, Int64, String, ScriptAuthor) async throws -> Void
    ) -> APIOperation {
        APIOperation(
            "POST", one + "/" + verb, id: "edge.deployments.\(verb)", summary, .account(.workers, .edit),
            body: .json(DeploymentJSON.wordSchema), result: .json(DeploymentJSON.deploymentSchema), isIdempotent: true,
            isPolled: verb == "hold"
        ) { call in
            try await services.onDeployments(call) { control in
                let number = try number(call)
                try await body(control, number, call.json["id"]?.text ?? "", services.deployer(call))
                return .result(DeploymentJSON.json(try await control.deployment(number)))
            }
        }
    }

    /// The id is what shows that somebody may ask: it is random, and known to the leader and its nodes alone.
    private static func answerPeer(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let account = call.parameters["account_id"] ?? ""
        guard let tenant = services.accounts.tenant(account) else { throw unknownCoordination }
        guard let runner = services.accounts.runners.first(where: { $0.tenant == tenant }) else {
            throw APIError(503, 10013, "The account's stores are being opened: try again", retryAfterSeconds: 1)
        }
        do {
            guard let said = try await runner.deployments.vote(on: call.parameters["coordination_id"] ?? "") else {
                throw unknownCoordination
            }
            return .result(.object(["node": .string(said.node), "vote": .string(said.vote.rawValue)]))
        } catch let error as DeploymentError { throw ReleaseFailure.of(error) }
    }

    private static var unknownCoordination: APIError {
        APIError(404, ReleaseFailure.unknown, "This node has no deployment of this id")
    }

    static func number(_ call: APICall) throws(APIError) -> Int64 {
        let text = call.parameters["number"] ?? ""
        guard let number = Int64(text), number > 0 else {
            throw APIError(404, ReleaseFailure.unknown, "\"\(text.prefix(40))\" is no number of a deployment or a release")
        }
        return number
    }

    // MARK: Beginning

    private static func create(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        let outcome: Result<APIReply, any Error>
        do { outcome = .success(try await begin(call, services)) } catch { outcome = .failure(error) }
        // What was sent and isn't of any release goes at once: nobody holds it any more.
        let (runner, bundles) = (try services.accounts.runner(call), try services.releaseServices().bundles)
        do { try await runner.collect(bundles) } catch {
            services.logger.log(.warning, "what no release has stays: \(error)")
        }
        return try outcome.get()
    }

    private static func begin(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        try await services.onDeployments(call) { control in
            let runner = try services.accounts.runner(call)
            let form = try await DeploymentForm.read(call, services)
            try await checkPromotion(form, services)
            let artifacts = try await hold(form.bundle, runner, services)
            if form.options.isDryRun {
                // It leaves nothing that was brought for it.
                defer { leases(services)?.drop(Set(artifacts.map(\.hash)), of: runner.tenant) }
                let plan = try await control.plan(form.bundle.bundle, form.options)
                return withExtendedLifetime((artifacts, form.bundle)) { reply(changed: !plan.isEmpty, nil, plan) }
            }
            try services.releaseServices().keys.check(form.options.signature ?? "", of: form.bundle.bundle.hash)
            let author = services.deployer(call)
            let record = try await control.deploy(form.bundle.bundle, form.options, form.trigger, by: author)
            return withExtendedLifetime((artifacts, form.bundle)) { reply(changed: record != nil, record, nil) }
        }
    }

    /// Where only what serves elsewhere may be deployed, who asks has to have seen to it, as `edge promote` does.
    private static func checkPromotion(_ form: DeploymentForm, _ services: APIServices) async throws {
        guard form.trigger == .deploy, !form.options.allowsUnpromoted else { return }
        let environment = try services.releaseServices().environment
        let bundle = form.bundle.bundle
        let source = try await services.disk.run { () throws(DeploymentFailure) -> String? in
            try bundle.promotionSource(of: environment)
        }
        guard let source else { return }
        throw DeploymentFailure(
            "promote_from = \"\(source)\": only what is active there may be deployed to \(environment); `edge promote \(source) "
                + "\(environment)` does that, and --allow-unpromoted asks for none of it")
    }

    private static func leases(_ services: APIServices) -> ArtifactLeases? { services.releases?.leases }

    private static func reply(changed: Bool, _ record: DeploymentRecord?, _ plan: DeploymentPlan?) -> APIReply {
        .result(
            .object([
                "changed": .bool(changed), "deployment": record.map(DeploymentJSON.json) ?? .null,
                "plan": plan.map(DeploymentJSON.json) ?? .null,
            ]))
    }

    /// The executables of a bundle, all of which this account has brought or has versions of.
    private static func hold(
        _ bundle: BundleStore.Hold, _ runner: ReleaseRunner, _ services: APIServices
    ) async throws -> [ArtifactStore.Hold] {
        let wanted = try await services.disk.run { () throws -> [String: String] in try bundle.bundle.artifacts() }
        var holds: [ArtifactStore.Hold] = []
        var missing: [String] = []
        for (product, hash) in wanted.sorted(by: { $0.key < $1.key }) {
            if let hold = try await ArtifactOperations.find(hash, services, runner) {
                holds.append(hold)
            } else {
                missing.append("\(product) (\(hash))")
            }
        }
        guard missing.isEmpty else { throw BundleError.missingArtifacts(missing) }
        return holds
    }

    // MARK: Events

    private static func after(_ call: APICall) -> Int64 { call.queryValue("after").flatMap { Int64($0) } ?? 0 }

    private static func events(_ call: APICall, _ services: APIServices) async throws -> APIReply {
        try await services.onDeployments(call) { control in
            let (number, after) = (try number(call), after(call))
            var found = try await control.events(of: number, after: after)
            if found.isEmpty, call.queryValue("wait") == "true", try await !control.deployment(number).state.isEnd {
                await control.wait(for: number, after: after)
                found = try await control.events(of: number, after: after)
            }
            return .result(.array(found.map(DeploymentJSON.json)))
        }
    }
}

/// A deployment's events as they come, until it has ended. One reader at a time.
final class DeploymentEventStream: BodySource, @unchecked Sendable {
    private let control: any DeploymentControl
    private let number: Int64
    private var after: Int64
    private var isCancelled = false
    private var wasSilent = false

    init(_ control: any DeploymentControl, _ number: Int64, after: Int64) {
        self.control = control
        self.number = number
        self.after = after
    }

    func next() async throws -> [UInt8]? {
        while !isCancelled {
            // Asked before the events: none can come behind the end.
            let hasEnded = try await control.deployment(number).state.isEnd
            let events = try await control.events(of: number, after: after)
            if let last = events.last {
                after = last.sequence
                return events.flatMap { DeploymentJSON.json($0).bytes + [0x0A] }
            }
            if hasEnded { return nil }
            // A line end now and then finds out whether anybody still reads.
            if wasSilent {
                wasSilent = false
                return [0x0A]
            }
            wasSilent = true
            await control.wait(for: number, after: after)
        }
        return nil
    }

    func cancel() { isCancelled = true }
}
