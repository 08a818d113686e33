internal import Configuration
internal import HTTP
internal import Host
internal import Releases
internal import System

/// `edge run`: one worker without any configuration file.
enum RunCommand: Command {
    static let name = "run"
    static let summary = "Runs one worker's executable, without any configuration file"
    static let discussion = """
        Serves all hosts and paths with one worker, on http://localhost:8787. Stores are made as they are named: after
        `--kv NOTES` the worker finds the namespace `notes` under env.kv("NOTES"), after `--kv NOTES=drafts` the
        namespace `drafts`. Data is kept in state/dev, unless --state says otherwise.

        example: edge run .build/debug/Notes --kv NOTES
        """
    static let operands: [Operand] = [.one("EXECUTABLE", .files)]
    static let options: [Option] =
        NodeOptions.options + [
            .values("kv", "NAME[=NAMESPACE]", "binds a KV namespace"),
            .values("d1", "NAME[=DATABASE]", "binds a D1 database"),
            .values("r2", "NAME[=BUCKET]", "binds an R2 bucket"),
            .values("queue", "NAME[=QUEUE]", "binds a queue"),
            .values("consume", "QUEUE[=QUEUE]", "delivers a queue to the worker; dead letters go to the second"),
            .values("ratelimit", "NAME=LIMIT/PERIOD", "binds a rate limit: so many calls in 10 or 60 seconds"),
            .values("analytics", "NAME[=DATASET]", "binds a dataset of the Analytics Engine"),
            .values("version-metadata", "NAME", "binds what is known of the worker's version"),
            .values("service", "NAME=EXECUTABLE", "runs another worker, too, and binds it"),
            .values("worker", "HOST=EXECUTABLE", "runs another worker, too, bound alike, for a host name of its own"),
            .values("var", "NAME=VALUE", "sets a variable: env.variable(\"NAME\")"),
            .value("isolates", "N", "processes of the worker (1)"),
            .value("concurrency", "N", "events that a process handles at once (64)"),
            .value("subrequests", "N", "calls that one event may make (1000)"),
            .value("cpu", "DURATION", "CPU time that one event may use (30s)"),
            .value("memory", "SIZE", "memory that one process may use (128MiB)"),
            .value("body", "SIZE", "the largest request body (100MB)"),
            .flag("allow-private", "lets the worker fetch private and loopback addresses"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let executable = try arguments.required("EXECUTABLE")
        let options = try NodeOptions(arguments, environment: "dev")
        var worker = WorkerDescription(name: workerName(executable), executable: executable)
        try configure(&worker, arguments)
        worker.routes = [try RoutePattern("*/*", for: worker.name)]
        var workers = [worker]
        for pair in arguments.all("service") {
            let (name, path) = split(pair)
            guard let path else {
                throw UsageError.invalidValue(option: "--service", value: pair, expected: "NAME=EXECUTABLE")
            }
            var service = WorkerDescription(name: "service-\(name.lowercased())", executable: path)
            service.size = worker.size
            service.limits = worker.limits
            workers[0].bindings.append((name, .service(worker: service.name)))
            workers.append(service)
        }
        for pair in arguments.all("worker") {
            let (host, path) = split(pair)
            guard let path else {
                throw UsageError.invalidValue(option: "--worker", value: pair, expected: "HOST=EXECUTABLE")
            }
            var other = WorkerDescription(name: workerName(host), executable: path)
            other.size = worker.size
            other.limits = worker.limits
            other.bindings = workers[0].bindings
            other.routes = [try RoutePattern("\(host)/*", for: other.name)]
            workers.append(other)
        }
        let process = try await NodeProcess(options, canBeReplaced: true)
        let description = ReleaseDescription(
            name: "run", tenant: "local", environment: "dev", workers: workers)
        var stores = StoreSettings()
        // As in dev.
        stores.timeTravel = .seconds(86_400)
        return await process.serve([.init(description: description, stores: stores, secrets: NoSecrets())])
    }

    private static func configure(_ worker: inout WorkerDescription, _ arguments: CommandLineArguments) throws {
        for pair in arguments.all("kv") {
            let (name, resource) = split(pair)
            worker.bindings.append((name, .kv(namespace: resource ?? name.lowercased())))
        }
        for pair in arguments.all("d1") {
            let (name, resource) = split(pair)
            worker.bindings.append((name, .d1(database: resource ?? name.lowercased())))
        }
        for pair in arguments.all("r2") {
            let (name, resource) = split(pair)
            worker.bindings.append((name, .r2(bucket: resource ?? name.lowercased())))
        }
        for pair in arguments.all("queue") {
            let (name, resource) = split(pair)
            worker.bindings.append((name, .queue(resource ?? name.lowercased(), delaySeconds: nil)))
        }
        for pair in arguments.all("ratelimit") {
            let (name, value) = split(pair)
            let numbers = (value ?? "").split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
            guard numbers.count == 2, let limit = numbers[0], (1...1_000_000_000).contains(limit), let period = numbers[1]
            else {
                throw UsageError.invalidValue(
                    option: "--ratelimit", value: pair, expected: "NAME=LIMIT/PERIOD, such as API=5/10")
            }
            worker.bindings.append(
                (name, .rateLimit(.init(namespace: "/\(name)", limit: limit, periodSeconds: period))))
        }
        for pair in arguments.all("analytics") {
            let (name, dataset) = split(pair)
            guard
                (dataset ?? name).utf8.allSatisfy({
                    $0 == 0x5F || (0x30...0x39).contains($0) || (0x41...0x5A).contains($0 & 0xDF)
                })
            else {
                throw UsageError.invalidValue(
                    option: "--analytics", value: pair, expected: "NAME[=DATASET] of letters, digits and _")
            }
            worker.bindings.append((name, .analytics(dataset: dataset ?? name)))
        }
        for name in arguments.all("version-metadata") { worker.bindings.append((name, .versionMetadata)) }
        for pair in arguments.all("consume") {
            let (queue, deadLetters) = split(pair)
            worker.consumers.append(
                .init(queue: queue, batchTimeout: .seconds(1), deadLetterQueue: deadLetters))
        }
        for pair in arguments.all("var") {
            let (name, value) = split(pair)
            worker.variables.append((name, .text(value ?? "")))
        }
        let isolates = try arguments.integer("isolates", 1...256) ?? 1
        worker.size = PoolSize(min: isolates, max: isolates, idleTimeout: .seconds(300))
        worker.limits.concurrency = try arguments.integer("concurrency", 1...1024) ?? 64
        worker.limits.subrequestsMax = try arguments.integer("subrequests", 1...1_000_000) ?? 1000
        worker.limits.cpu = try arguments.duration("cpu") ?? worker.limits.cpu
        worker.limits.memoryByteCount = try arguments.size("memory") ?? worker.limits.memoryByteCount
        worker.limits.bodyBytesMax = try arguments.size("body") ?? worker.limits.bodyBytesMax
        worker.limits.outbound.privateAddresses = arguments.has("allow-private")
    }

    private static func split(_ pair: String) -> (String, String?) {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return (String(parts[0]), parts.count == 2 ? String(parts[1]) : nil)
    }

    /// The file's name as a worker may be called: `HelloWorker` becomes `hello-worker`.
    private static func workerName(_ path: String) -> String {
        var name = ""
        for character in path.split(separator: "/").last ?? "worker" {
            if character.isUppercase, !name.isEmpty { name += "-" }
            if character.isLetter || character.isNumber || character == "-" || character == "_" {
                name += character.lowercased()
            }
        }
        return name.isEmpty ? "worker" : name
    }
}

struct NoSecrets: SecretSource {
    func secret(_ name: String, of worker: String) -> String? { nil }
}
