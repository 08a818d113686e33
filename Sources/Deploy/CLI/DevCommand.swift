internal import Configuration
internal import Host
internal import Observability
internal import Releases
internal import Synchronization
internal import System

/// `edge dev`: builds, runs all workers, watches the sources, rebuilds and swaps without losing a request.
enum DevCommand: Command {
    static let name = "dev"
    static let summary = "Builds and runs the platform on this machine, and follows changes"
    static let usage = "[OPTION...]"
    static let discussion = """
        Builds the workers of wrangler-like.toml with SwiftPM, applies pending migrations, prints routes and bindings, and
        serves on http://localhost:8787. When a source, a migration, wrangler-like.toml, environments/dev.toml or .dev.vars
        changes, it builds again and moves traffic without losing a request; what fails to build or to start leaves the
        last good release serving. With --no-build, executables that somebody else built are the change to follow.
        Ctrl-C finishes open requests and ends, a second Ctrl-C ends at once.
        """
    static let options: [Option] =
        NodeOptions.options + Project.options + [
            .flag("release", "builds optimised (for debugging)"),
            .flag("no-build", "runs what was built before, from .build"),
            .flag("no-watch", "stays with what it started with"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        if let word = arguments.positional.first { throw UsageError.unexpectedArgument(word) }
        let project = Project(arguments)
        let builder = WorkerBuilder(
            directory: project.directory, isOptimised: arguments.has("release"), isEnabled: !arguments.has("no-build"))
        // Before anything is read: what is saved while the first release is built counts as a change.
        let changes = arguments.has("no-watch") ? nil : try ChangeFeed(project, builder)
        guard let configuration = project.load("dev", arguments) else { return ExitCode.refused }
        let options = try NodeOptions(arguments, environment: "dev", configuration: configuration)
        guard try builder.build(configuration) else { return ExitCode.failure }

        let process = try await NodeProcess(options)
        let session = DevSession(project: project, arguments: arguments, builder: builder, process: process, changes: changes)
        return try await session.serve(configuration)
    }
}

/// Builds a project's workers.
struct WorkerBuilder {
    let directory: String
    let isOptimised: Bool
    let isEnabled: Bool

    var products: String { "\(directory)/.build/\(isOptimised ? "release" : "debug")" }

    /// - Returns: whether all products are there; the compiler has said why not.
    func build(_ configuration: EffectiveConfiguration) throws(SystemError) -> Bool {
        guard isEnabled else { return true }
        var names: [String] = []
        for worker in configuration.workers where worker.isEnabled && !names.contains(worker.product) {
            names.append(worker.product)
        }
        for product in names {
            let code = try ChildProcess.run(
                [
                    "swift", "build", "--static-swift-stdlib", "--configuration", isOptimised ? "release" : "debug",
                    "--product", product, "--quiet", "--package-path", directory,
                ])
            guard code == 0 else {
                Edge.complain("edge dev: building \(product) failed (exit code \(code))")
                return false
            }
        }
        return true
    }
}

/// One run of `edge dev`.
struct DevSession {
    let project: Project
    let arguments: CommandLineArguments
    let builder: WorkerBuilder
    let process: NodeProcess
    let changes: ChangeFeed?
    private let secrets = DevSecrets()

    init(
        project: Project, arguments: CommandLineArguments, builder: WorkerBuilder, process: NodeProcess,
        changes: ChangeFeed?
    ) {
        self.changes = changes
        self.project = project
        self.arguments = arguments
        self.builder = builder
        self.process = process
    }

    func serve(_ configuration: EffectiveConfiguration) async throws -> Int32 {
        let runner = try process.makeRunner(
            tenant: configuration.tenant, secrets: secrets)
        let endpoints = try await process.listen()
        await process.control.attach(node: process.node, runner: runner)
        do {
            _ = try await runner.apply(try describe(configuration, number: 1))
        } catch {
            _ = await process.node.drain(until: process.clock.now())
            process.flushLog()
            Edge.complain("edge dev: \(error)")
            return ExitCode.refused
        }
        await process.control.becomeReady()
        Edge.complain(summary(configuration))
        process.announce(endpoints)
        if let changes { follow(changes, runner) }
        return await process.waitForTheEnd([runner])
    }

    private func describe(_ configuration: EffectiveConfiguration, number: Int) throws -> ReleaseDescription {
        secrets.use(LocalValues(project, configuration))
        return try project.describe(configuration, name: "dev-\(number)", products: builder.products)
    }

    private func summary(_ configuration: EffectiveConfiguration) -> String {
        var lines: [String] = []
        for worker in configuration.workers where worker.isEnabled {
            lines.append("  \(worker.name)")
            for route in worker.routes { lines.append("      route    \(route.pattern)") }
            for domain in worker.customDomains { lines.append("      domain   \(domain.domain)") }
            for binding in worker.bindings {
                lines.append("      binding  \(binding.name): \(binding.kindName) \(Self.resource(binding.target))")
            }
            for consumer in worker.consumers { lines.append("      consumes \(consumer.queue)") }
            for cron in worker.crons { lines.append("      cron     \(cron.text)") }
        }
        return lines.joined(separator: "\n")
    }

    private static func resource(_ target: Binding.Target) -> String {
        switch target {
        case .kv(let resource), .r2(let resource): resource
        case .d1(let resource, _): resource
        case .queue(let queue, _): queue
        case .service(let worker, _, _): worker
        case .rateLimit(let limit):
            "\(limit.limit) in \(limit.periodSeconds) s" + (limit.key == .clientAddress ? " for each client" : "")
        case .analytics(let dataset): dataset
        default: ""
        }
    }

    // MARK: Following changes

    /// Each change is built on the watching thread and brought into service by a task.
    private func follow(_ changes: ChangeFeed, _ runner: ReleaseRunner) {
        let session = self
        let number = Atomic(1)
        changes.follow { paths in
            session.changed(paths, number: number.add(1, ordering: .relaxed).newValue, runner)
        }
    }

    private func changed(_ paths: Set<String>, number: Int, _ runner: ReleaseRunner) {
        let logger = process.logger
        let paths = paths.filter(isInput)
        guard !paths.isEmpty else { return }
        logger.log(.info, "changed", [("files", paths.sorted().prefix(3).joined(separator: ", "))])
        guard let configuration = project.load("dev", arguments) else {
            return logger.log(.error, "the configuration has errors: the last good release goes on serving")
        }
        let isCode = paths.contains { $0.hasSuffix(".swift") || $0.hasSuffix(".c") || $0.hasSuffix(".h") }
        do {
            if isCode, try !builder.build(configuration) {
                return logger.log(.error, "the build failed: the last good release goes on serving")
            }
            let description = try describe(configuration, number: number)
            let done = Semaphore()
            // One change after the other: the watching thread waits.
            Task {
                do {
                    _ = try await runner.apply(description)
                } catch {
                    logger.log(.error, "the last good release goes on serving: \(error)")
                }
                done.signal()
            }
            done.wait()
        } catch {
            logger.log(.error, "the last good release goes on serving: \(error)")
        }
    }
}

extension DevSession {
    /// Whether a file is one that a release is made of.
    private func isInput(_ path: String) -> Bool {
        // Executables have no extension; all else there belongs to the one who builds.
        if path.hasPrefix(builder.products + "/") { return !path.dropFirst(builder.products.count).contains(".") }
        let relative = path.hasPrefix(project.directory + "/") ? path.dropFirst(project.directory.count + 1) : path[...]
        guard !relative.contains("/") else { return true }
        return relative == "wrangler-like.toml" || relative == "Package.swift" || relative.hasPrefix(".dev.vars")
            || relative.hasPrefix(".env")
    }
}

/// Tells which of a project's files change, from its making on.
final class ChangeFeed: Sendable {
    private let watcher: Mutex<FileWatcher?>

    init(_ project: Project, _ builder: WorkerBuilder) throws(SystemError) {
        var watcher = try FileWatcher()
        for folder in ["Sources", "environments", "migrations"] { watcher.watch("\(project.directory)/\(folder)") }
        watcher.watchFiles(of: project.directory)
        // Somebody else builds: what they built is the change.
        if !builder.isEnabled { watcher.watchFiles(of: builder.products) }
        self.watcher = Mutex(watcher)
    }

    /// Calls `changed` with the paths of each change, one change after the other, on a thread of its own.
    func follow(_ changed: @escaping @Sendable (Set<String>) -> Void) {
        SystemThread(name: "edge-watch") { [self] in
            guard var watcher = watcher.withLock({ $0.take() }) else { return }
            while true { changed(watcher.next(quiet: .milliseconds(200))) }
        }.start()
    }
}

/// What `.dev.vars` said when the newest release was described.
private final class DevSecrets: SecretSource {
    private let values = Mutex<LocalValues?>(nil)

    func use(_ values: LocalValues) { self.values.withLock { $0 = values } }

    func secret(_ name: String, of worker: String) -> String? {
        values.withLock { $0?.secret(name, of: worker) }
    }
}
