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
    static let discussion = """
        Builds the workers of wrangler-like.toml with SwiftPM, applies pending migrations, prints routes and bindings, and
        serves on http://localhost:8787. When a source, a migration, wrangler-like.toml, environments/dev.toml or .dev.vars
        changes, it builds again and moves traffic without losing a request; what fails to build or to start leaves the
        last good release serving. With --no-build, executables that somebody else built are the change to follow.
        With -c, serves one worker in wrangler's format. Ctrl-C finishes open requests and ends, a second Ctrl-C ends at once.
        """
    static let options: [Option] =
        NodeOptions.options + Project.options + Project.wranglerOptions + [
            .flag("release", "builds optimised (for debugging)"),
            .flag("no-build", "runs what was built before, from .build"),
            .flag("no-watch", "stays with what it started with"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let project = try Project(arguments, environment: arguments.value("env"))
        try project.refuseEnvironment(arguments)
        let builder = WorkerBuilder(
            directory: project.directory, isOptimised: arguments.has("release"), isEnabled: !arguments.has("no-build"))
        // Before anything is read: what is saved while the first release is built counts as a change.
        let changes = arguments.has("no-watch") ? nil : try ChangeFeed(project, builder, state: arguments.value("state"))
        guard let configuration = project.load("dev", arguments) else { return ExitCode.refused }
        var options = try NodeOptions(arguments, environment: "dev", configuration: configuration, base: project.base)
        if options.s3?.listen.isEmpty ?? true {
            var s3 = S3Options.ofDevelopers
            s3.domains = options.s3?.domains ?? []
            options.s3 = s3
        }
        changes?.watch(configuration, of: project)
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

    /// Whether a worker's executable isn't there yet.
    func isMissing(_ configuration: EffectiveConfiguration) -> Bool {
        isEnabled
            && configuration.workers.contains {
                $0.isEnabled && !$0.product.isEmpty && !FileTree.exists("\(products)/\($0.product)")
            }
    }

    /// - Returns: whether all products are there; the compiler has said why not.
    func build(_ configuration: EffectiveConfiguration) throws(SystemError) -> Bool {
        guard isEnabled else { return true }
        var names: [String] = []
        for worker in configuration.workers
        where worker.isEnabled && !worker.product.isEmpty && !names.contains(worker.product) {
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
    /// Whether sources changed since the last build that succeeded. The watching thread alone asks and sets it.
    private let needsBuild = Flag(false)

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
            tenant: configuration.tenant, stores: configuration.stores, secrets: secrets)
        let endpoints = try await process.listen()
        let host = try process.serveAPI([configuration.tenant], hosts: process.controlHosts(endpoints))
        await process.control.attach(node: process.node, runner: runner)
        do {
            _ = try await runner.apply(try describe(configuration, number: 1))
        } catch {
            _ = await process.node.drain(until: process.clock.now())
            process.flushLog()
            Edge.complain("edge dev: \(error)")
            return ExitCode.refused
        }
        try await process.open(host, beside: [configuration.tenant])
        Edge.complain(summary(configuration))
        if let address = endpoints.s3Address { Edge.complain("  S3 API at \(address)") }
        try await process.becomeReady(host, endpoints)
        if let changes { follow(changes, runner) }
        return await process.waitForTheEnd()
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
            if let assets = worker.assets { lines.append("      assets   \(assets.directory)") }
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
        // Kept until a build succeeds: what comes before it, such as a broken configuration, must not lose it.
        if paths.contains(where: isCode) { needsBuild.set() }
        guard let configuration = project.load("dev", arguments) else {
            return logger.log(.error, "the configuration has errors: the last good release goes on serving")
        }
        changes?.watch(configuration, of: project)
        do {
            if needsBuild.isSet || builder.isMissing(configuration) {
                guard try builder.build(configuration) else {
                    return logger.log(.error, "the build failed: the last good release goes on serving")
                }
                needsBuild.clear()
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
        if let changes, changes.isAsset(path) || changes.holdsAssets(path), !path.hasPrefix(builder.directory + "/.build/") {
            return true
        }
        // Executables have no extension; all else there belongs to the one who builds.
        if path.hasPrefix(builder.products + "/") { return !path.dropFirst(builder.products.count).contains(".") }
        let relative = path.hasPrefix(project.directory + "/") ? path.dropFirst(project.directory.count + 1) : path[...]
        guard relative.contains("/") else {
            return relative == project.file || relative == "Package.swift" || relative.hasPrefix(".dev.vars")
                || relative.hasPrefix(".env") || FileTree.isDirectory(path)
        }
        return relative.hasPrefix("environments/") || relative.hasPrefix("Sources/") || isCode(path)
            || changes?.isMigration(path) == true
    }

    /// Whether a file is one that products are made of. A folder may have come with such files in it.
    private func isCode(_ path: String) -> Bool {
        path.hasSuffix(".swift") || path.hasSuffix(".c") || path.hasSuffix(".h") || path.hasSuffix(".modulemap")
            || FileTree.isDirectory(path) && changes?.isAsset(path) != true
    }
}

/// Tells which of a project's files change, from its making on.
final class ChangeFeed: Sendable {
    private let watcher: Mutex<FileWatcher?>
    /// Folders outside the project that a configuration named, and those of them that the thread has still to watch.
    private let extra = Mutex<(known: Set<String>, fresh: [String])>(([], []))
    /// All folders of migrations that a configuration has named, as the paths of changes begin.
    private let migrations = Mutex<Set<String>>([])

    /// Folders with assets, which may lie anywhere.
    private let assets = Mutex<Set<String>>([])
    private let directory: String

    /// Folders of a project that hold no sources, and may hold much else.
    private static let passedOver: Set<String> = ["state", "node_modules", "build"]

    /// - Parameter state: the node's state directory, whose files change all the time.
    init(_ project: Project, _ builder: WorkerBuilder, state: String?) throws(SystemError) {
        directory = project.directory
        var watcher = try FileWatcher()
        var passedOver = Self.passedOver
        if let state {
            let inside = state.hasPrefix(project.directory + "/") ? state.dropFirst(project.directory.count + 1) : state[...]
            if let first = inside.split(separator: "/").first, !inside.hasPrefix("/") { passedOver.insert(String(first)) }
        }
        // Products may lie in any folder, and so may migrations.
        watcher.watch(project.directory, except: passedOver)
        // Somebody else builds: what they built is the change.
        if !builder.isEnabled { watcher.watchFiles(of: builder.products) }
        self.watcher = Mutex(watcher)
    }

    /// Whether a file is one of a configuration's migrations.
    func isMigration(_ path: String) -> Bool {
        migrations.withLock { $0.contains { path.hasPrefix($0 + "/") } }
    }

    /// Whether `path` is a folder with assets, or lies in one.
    func isAsset(_ path: String) -> Bool {
        assets.withLock { $0.contains { path == $0 || path.hasPrefix($0 + "/") } }
    }

    /// Whether a folder with assets lies in `path`.
    func holdsAssets(_ path: String) -> Bool {
        assets.withLock { $0.contains { $0.hasPrefix(path + "/") } }
    }

    /// Also follows what a configuration names outside the project's folder, and its assets wherever they are.
    func watch(_ configuration: EffectiveConfiguration, of project: Project) {
        for worker in configuration.workers {
            for binding in worker.bindings {
                guard case .d1(_, let set?) = binding.target else { continue }
                let parts = set.directory.split(separator: "/").filter { $0 != "." }
                let path = "\(project.directory)/\(parts.joined(separator: "/"))"
                migrations.withLock { _ = $0.insert(path) }
                guard parts.contains("..") else { continue }
                guard extra.withLock({ $0.known.insert(path).inserted }) else { continue }
                watch(path)
            }
        }
        // Each time: one that was made meanwhile, or made anew, has to be found.
        for path in project.assetDirectories(configuration) {
            assets.withLock { _ = $0.insert(path) }
            watch(path)
        }
    }

    private func watch(_ path: String) {
        let isWatched = watcher.withLock { watcher in
            watcher?.watch(path, below: directory)
            return watcher != nil
        }
        if !isWatched { extra.withLock { $0.fresh.append(path) } }
    }

    /// Calls `changed` with the paths of each change, one change after the other, on a thread of its own.
    func follow(_ changed: @escaping @Sendable (Set<String>) -> Void) {
        SystemThread(name: "edge-watch") { [self] in
            guard var watcher = watcher.withLock({ $0.take() }) else { return }
            while true {
                let fresh = extra.withLock { extra in
                    defer { extra.fresh = [] }
                    return extra.fresh
                }
                for folder in fresh { watcher.watch(folder, below: directory) }
                changed(watcher.next(quiet: .milliseconds(200)))
            }
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
