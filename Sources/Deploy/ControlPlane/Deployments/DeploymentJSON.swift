internal import HTTP
internal import Releases
internal import System

/// Deployments and releases as the API writes them.
enum DeploymentJSON {
    static let number = APISchema.integer(1...Int64.max)
    private static let author = APISchema.object([
        .required("id", .string()), .required("email", .string()), .required("source", .string()),
    ])
    static let state = APISchema.choice(DeploymentState.allCases.map(\.rawValue))

    static let deploymentSchema = APISchema.object([
        .required("number", number), .required("state", state), .required("percent", .integer(0...100)),
        .required("release", number), .required("previous", .nullable(number)), .required("trigger", .string()),
        .required("author", author), .required("options", .any), .required("created_on", .string()),
        .required("finished_on", .nullable(.string())), .required("pause", .nullable(.string())),
        .required("reason", .nullable(.string())), .required("exit_code", .nullable(.integer(0...3))),
        .required("coordination", .nullable(coordination)),
    ])

    private static let coordination = APISchema.object([
        .required("id", .string()), .required("lease_seconds", .number),
        .required("word", .nullable(.choice(Coordination.Word.allCases.map(\.rawValue)))),
        .required("until", .nullable(.string())),
        .required("node", .nullable(.string())), .required("peers", .array(peer)),
    ])

    private static let peer = APISchema.object([.required("name", .string(1...1024)), .required("url", .string(1...1024))])

    /// What a node says of a coordinated deployment when another one asks.
    static let voteSchema = APISchema.object([
        .required("node", .string()), .required("vote", .choice(Coordination.Vote.allCases.map(\.rawValue))),
    ])

    /// The words that whoever leads several nodes may give, with `id` as in the options.
    static let wordSchema = APISchema.object([.required("id", .string(1...64))])

    static let eventSchema = APISchema.object([
        .required("sequence", .integer(1...Int64.max)), .required("time", .string()), .required("state", state),
        .required("kind", .choice(["entered", "note", "warning", "failure"])), .required("text", .string()),
    ])

    static let releaseSchema = APISchema.object([
        .required("number", number), .required("bundle", .nullable(.string())), .required("versions", .map(.string())),
        .required("created_on", .string()), .required("author", author), .required("message", .string()),
        .required("tag", .string()), .required("revision", .string()), .required("status", .nullable(.string())),
    ])

    static let planSchema = APISchema.object([
        .required("changed", .bool), .required("workers", .map(.choice(["added", "changed", "removed", "unchanged"]))),
        .required(
            "migrations",
            .array(
                .object([
                    .required("database", .string()), .required("file", .string()),
                    .required("kind", .choice(["expand", "contract"])), .required("checksum", .string()),
                ]))), .required("steps", .array(.integer(1...100))), .required("triggers", .array(.string())),
        .required("class_migrations", .array(.string())),
    ])

    static func time(_ time: UnixTime) -> JSON {
        let milliseconds = ((time.milliseconds % 1000) + 1000) % 1000
        let text = HTTPDate(unixSeconds: time.seconds).iso8601
        // As others read it: to the millisecond, in UTC.
        return .string("\(text.prefix(19)).\(String(1000 + milliseconds).dropFirst())Z")
    }

    private static func json(_ author: ScriptAuthor) -> JSON {
        .object(["id": .string(author.id), "email": .string(author.email), "source": .string(author.source)])
    }

    static func json(_ record: DeploymentRecord) -> JSON {
        .object([
            "number": .integer(record.number), "state": .string(record.state.rawValue),
            "percent": .integer(Int64(record.percent)), "release": .integer(record.release),
            "previous": record.previous.map { .integer($0) } ?? .null, "trigger": .string(record.trigger.rawValue),
            "author": json(record.author), "options": json(record.options), "created_on": time(record.createdAt),
            "finished_on": record.finishedAt.map(time) ?? .null, "pause": record.pause.map { .string($0) } ?? .null,
            "reason": record.reason.map { .string($0) } ?? .null,
            "exit_code": record.exitCode.map { .integer(Int64($0)) } ?? .null,
            "coordination": json(record.options.coordination, record.coordination),
        ])
    }

    private static func json(_ request: Coordination.Request?, _ told: Coordination?) -> JSON {
        guard let request else { return .null }
        return .object([
            "id": .string(request.id), "lease_seconds": .number(request.leaseSeconds),
            "word": told.map { .string($0.word.rawValue) } ?? .null, "until": told.map { time($0.until) } ?? .null,
            "node": request.node.map { .string($0) } ?? .null,
            "peers": .array((request.peers ?? []).map { .object(["name": .string($0.name), "url": .string($0.url)]) }),
        ])
    }

    static func json(_ event: DeploymentEvent) -> JSON {
        .object([
            "sequence": .integer(event.sequence), "time": time(event.time), "state": .string(event.state.rawValue),
            "kind": .string(event.kind.rawValue), "text": .string(event.text),
        ])
    }

    /// - Parameter status: `active`, `candidate`, `warm`; `nil`: not in service.
    static func json(_ release: ReleaseRecord, status: String?) -> JSON {
        .object([
            "number": .integer(release.number), "bundle": release.bundle.isEmpty ? .null : .string(release.bundle),
            "versions": .object(
                release.versions.sorted { $0.key < $1.key }.map { JSON.Member(name: $0.key, value: .string($0.value)) }),
            "created_on": time(release.createdAt), "author": json(release.author), "message": .string(release.message),
            "tag": .string(release.tag), "revision": .string(release.revision),
            "status": status.map { .string($0) } ?? .null,
        ])
    }

    static func json(_ plan: DeploymentPlan) -> JSON {
        .object([
            "changed": .bool(!plan.isEmpty),
            "workers": .object(plan.workers.map { JSON.Member(name: $0.name, value: .string($0.change.rawValue)) }),
            "migrations": .array(
                plan.migrations.map { step in
                    .object([
                        "database": .string(step.database), "file": .string(step.file), "kind": .string(step.kind.rawValue),
                        "checksum": .string(step.checksum),
                    ])
                }), "steps": .array(plan.steps.map { .integer(Int64($0)) }), "triggers": .strings(plan.triggers),
            "class_migrations": .strings(plan.classMigrations),
        ])
    }

    // MARK: Options

    static let optionFields: [APISchema.Field] = [
        .optional("steps", .nullable(.array(.integer(1...100), 1...100))),
        .optional("bake_seconds", .nullable(.number)), .optional("monitor_seconds", .nullable(.number)),
        .optional("pause_at", .nullable(.integer(0...100))), .optional("dry_run", .nullable(.bool)),
        .optional("force", .nullable(.bool)), .optional("allow_breaking", .nullable(.bool)),
        .optional("contract", .nullable(.bool)), .optional("allow_unpromoted", .nullable(.bool)),
        .optional("message", .nullable(.string(0...1000))), .optional("tag", .nullable(.string(0...100))),
        .optional("revision", .nullable(.string(0...100))), .optional("restore_data", .nullable(.bool)),
        .optional("signature", .nullable(.string(0...100))), .optional("force_migrations", .nullable(.bool)),
        .optional("accept_secrets", .nullable(.bool)),
        .optional(
            "coordination",
            .nullable(
                .object([
                    .required("id", .string(1...64)), .required("lease_seconds", .number),
                    .optional("node", .nullable(.string(1...1024))), .optional("peers", .nullable(.array(peer, 0...99))),
                ]))),
    ]

    private static func json(_ options: DeploymentOptions) -> JSON {
        func flag(_ value: Bool) -> JSON? { value ? true : nil }
        func text(_ value: String) -> JSON? { value.isEmpty ? nil : .string(value) }
        return .object([
            "steps": options.steps.map { .array($0.map { .integer(Int64($0)) }) },
            "bake_seconds": options.bakeSeconds.map { .number($0) },
            "monitor_seconds": options.monitorSeconds.map { .number($0) },
            "pause_at": options.pauseAt.map { .integer(Int64($0)) }, "force": flag(options.isForced),
            "allow_breaking": flag(options.allowsBreaking), "contract": flag(options.contracts),
            "allow_unpromoted": flag(options.allowsUnpromoted), "message": text(options.message), "tag": text(options.tag),
            "revision": text(options.revision), "restore_data": flag(options.restoresData),
            "signature": options.signature.flatMap(text), "force_migrations": flag(options.forcesClassMigrations == true),
        ])
    }

    /// - Parameter json: What `optionFields` has passed.
    static func options(_ json: JSON) throws(APIError) -> DeploymentOptions {
        func mistake(_ name: String, _ expected: String) -> APIError {
            APIError(400, 10026, "/\(name) must be \(expected)", pointer: "/\(name)")
        }
        func seconds(_ name: String) throws(APIError) -> Double? {
            guard let value = json[name]?.number else { return nil }
            guard value.isFinite, (0...30 * 86_400).contains(value) else { throw mistake(name, "seconds, from 0 to 30 days") }
            return value
        }
        var options = DeploymentOptions()
        if let steps = json["steps"]?.items?.compactMap({ $0.integer.map(Int.init) }) {
            guard steps.last == 100, zip(steps, steps.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw mistake("steps", "percentages that rise and end in 100")
            }
            options.steps = steps
        }
        options.bakeSeconds = try seconds("bake_seconds")
        options.monitorSeconds = try seconds("monitor_seconds")
        options.pauseAt = json["pause_at"]?.integer.map(Int.init)
        options.isDryRun = json["dry_run"]?.bool ?? false
        options.isForced = json["force"]?.bool ?? false
        options.allowsBreaking = json["allow_breaking"]?.bool ?? false
        options.contracts = json["contract"]?.bool ?? false
        options.allowsUnpromoted = json["allow_unpromoted"]?.bool ?? false
        options.signature = json["signature"]?.text
        options.message = json["message"]?.text ?? ""
        options.tag = json["tag"]?.text ?? ""
        options.revision = json["revision"]?.text ?? ""
        options.restoresData = json["restore_data"]?.bool ?? false
        options.acceptsSecrets = json["accept_secrets"]?.bool
        if let led = json["coordination"], let id = led["id"]?.text, let seconds = led["lease_seconds"]?.number {
            guard (1...3600).contains(seconds) else { throw mistake("coordination/lease_seconds", "1 to 3600") }
            var told: [Coordination.Peer]?
            if let items = led["peers"]?.items { told = try peers(items) }
            options.coordination = .init(id: id, leaseSeconds: seconds, node: led["node"]?.text, peers: told)
        }
        if json["force_migrations"]?.bool == true { options.forcesClassMigrations = true }
        return options
    }

    private static func peers(_ list: [JSON]) throws(APIError) -> [Coordination.Peer] {
        var peers: [Coordination.Peer] = []
        for (index, item) in list.enumerated() {
            guard let name = item["name"]?.text, let url = item["url"]?.text.flatMap({ WebURL($0) }),
                ["http", "https"].contains(url.scheme), url.href == url.origin + "/"
            else {
                throw APIError(
                    400, 10026, "/coordination/peers/\(index)/url must be http://HOST:PORT or https://HOST:PORT",
                    pointer: "/coordination/peers/\(index)/url")
            }
            peers.append(.init(name: name, url: url.origin))
        }
        return peers
    }
}
