internal import HTTP

/// Checks what only all workers together can show: that names meet, and that nobody claims what is another's.
struct PlatformCheck {
    let configuration: EffectiveConfiguration
    /// Queues with a table of their own.
    let declaredQueues: [String: SourcePlace]
    let collector: DiagnosticCollector
    /// The key path of a worker; empty when the whole document is the worker.
    let path: (String) -> String

    private var workers: [WorkerConfiguration] { configuration.workers.filter(\.isEnabled) }

    func run(nodeMemoryByteCount: Int?) {
        checkServices()
        checkCycles()
        checkQueues()
        checkClasses()
        checkStores()
        checkRoutes()
        checkCounts()
        checkDatabases()
        checkMemory(nodeMemoryByteCount)
    }

    private func checkServices() {
        let names = configuration.workers.map(\.name)
        for worker in workers {
            for target in worker.tailConsumers where !names.contains(target) {
                collector.error(
                    .unknownName, at: worker.place, path: "\(path(worker.name)).tail",
                    "worker \"\(worker.name)\" is tailed by the worker \"\(target)\", which no [workers.NAME] table defines"
                        + NearestName.phrase(target, among: names))
            }
            for binding in worker.bindings {
                let target: String
                switch binding.target {
                case .service(let name, _, _): target = name
                case .durableObject(_, let name?), .workflow(_, _, let name?): target = name
                default: continue
                }
                let place = "\(path(worker.name)).\(binding.name)"
                if !names.contains(target) {
                    let nearest = NearestName.of(target, among: names)
                    collector.error(
                        .unknownName, at: binding.place, path: place,
                        "worker \"\(worker.name)\" binds \(binding.name) to the worker \"\(target)\", which no [workers.NAME] table defines"
                            + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""),
                        fix: nearest.map { "worker = \"\($0)\"" } ?? "known: \(names.joined(separator: ", "))"
                    )
                } else if let found = configuration.worker(target), !found.isEnabled {
                    collector.error(
                        .unknownName, at: binding.place, path: place,
                        "worker \"\(worker.name)\" binds \(binding.name) to the worker \"\(target)\", which is disabled in \(configuration.environment)"
                    )
                }
            }
        }
    }

    /// Calls in a circle are legal, and end at the 32nd worker.
    private func checkCycles() {
        var finished: Set<String> = []
        var trail: [String] = []
        func visit(_ name: String) {
            guard !finished.contains(name), let worker = configuration.worker(name) else { return }
            trail.append(name)
            for binding in worker.bindings {
                guard case .service(let target, _, _) = binding.target else { continue }
                if let start = trail.firstIndex(of: target) {
                    let circle = (trail[start...] + [target]).joined(separator: " → ")
                    collector.warning(
                        .serviceCycle, at: binding.place, path: "\(path(name)).\(binding.name)",
                        "service bindings form a circle: \(circle)",
                        fix: "calls in a circle fail at the 32nd worker")
                } else {
                    visit(target)
                }
            }
            trail.removeLast()
            finished.insert(name)
        }
        for worker in workers { visit(worker.name) }
    }

    private func checkQueues() {
        var consumers: [String: (worker: String, place: SourcePlace)] = [:]
        var producers: Set<String> = []
        for worker in workers {
            for consumer in worker.consumers {
                if let first = consumers[consumer.queue] {
                    collector.error(
                        .duplicateName, at: consumer.place,
                        path: "\(path(worker.name)).queues.consume.\(consumer.queue)",
                        "queue \"\(consumer.queue)\" has two consumers: \"\(first.worker)\" and \"\(worker.name)\"",
                        related: [.init(first.place, "the first consumer")])
                } else {
                    consumers[consumer.queue] = (worker.name, consumer.place)
                }
            }
            for binding in worker.bindings {
                if case .queue(let queue, _) = binding.target { producers.insert(queue) }
            }
        }
        let known = Set(declaredQueues.keys).union(consumers.keys)
        func missing(
            _ queue: String, _ worker: String, _ verb: String, at place: SourcePlace, _ key: String,
            among names: Set<String>
        ) {
            let nearest = NearestName.of(queue, among: names.subtracting([queue]).sorted())
            collector.error(
                .unknownName, at: place, path: "\(path(worker)).\(key)",
                "worker \"\(worker)\" \(verb) the queue \"\(queue)\", which no [queues.NAME] table defines and no other worker uses"
                    + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""),
                fix: nearest.map { "queue = \"\($0)\"" } ?? "add [queues.\(queue)]")
        }
        for worker in workers {
            for binding in worker.bindings {
                guard case .queue(let queue, _) = binding.target, !known.contains(queue) else { continue }
                missing(queue, worker.name, "sends to", at: binding.place, binding.name, among: known)
            }
            let sources = Set(declaredQueues.keys).union(producers)
                .union(workers.flatMap { $0.consumers.compactMap(\.deadLetterQueue) })
            for consumer in worker.consumers where !sources.contains(consumer.queue) {
                missing(
                    consumer.queue, worker.name, "takes from", at: consumer.place,
                    "queues.consume.\(consumer.queue)",
                    among: sources)
            }
            // A dead-letter queue is made when it's missing; a near miss is a slip of the keyboard.
            for consumer in worker.consumers {
                guard let dead = consumer.deadLetterQueue, !known.contains(dead), dead != consumer.queue,
                    let nearest = NearestName.of(dead, among: known.subtracting([consumer.queue]).sorted())
                else { continue }
                collector.error(
                    .unknownName, at: consumer.place,
                    path: "\(path(worker.name)).queues.consume.\(consumer.queue).dead_letter",
                    "worker \"\(worker.name)\" sends dead letters of \"\(consumer.queue)\" to the unknown queue \"\(dead)\"; did you mean \"\(nearest)\"?",
                    fix: "dead_letter = \"\(nearest)\", or add [queues.\(dead)]")
            }
        }
    }

    private func checkClasses() {
        for worker in workers {
            for binding in worker.bindings {
                guard case .durableObject(let className, let owner) = binding.target,
                    let target = owner.map({ configuration.worker($0) }) ?? worker
                else { continue }
                let classes = ClassMigrationReader.classes(after: target.migrations)
                guard !classes.contains(className) else { continue }
                guard !ClassMigrationReader.classes(deletedBy: target.migrations).contains(className) else {
                    collector.error(
                        .invalidValue, at: binding.place, path: "\(path(worker.name)).\(binding.name)",
                        "\(ClassMigrationRefusal.stillBound(className, binding: binding.name, worker: worker.name))",
                        fix: "delete the binding")
                    continue
                }
                let nearest = NearestName.of(className, among: classes.sorted())
                collector.error(
                    .unknownName, at: binding.place, path: "\(path(worker.name)).\(binding.name)",
                    "worker \"\(worker.name)\" binds \(binding.name) to the class \"\(className)\", which no migration of \"\(target.name)\" creates"
                        + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""),
                    fix: "migrations = [{ tag = \"v1\", new_sqlite_classes = [\"\(className)\"] }]")
            }
        }
    }

    /// Workers that name the same resource share it, and so must agree on what it is.
    private func checkStores() {
        var databases: [String: (migrations: D1Migrations, worker: String, place: SourcePlace)] = [:]
        var indexes: [String: (target: Binding.Target, worker: String, place: SourcePlace)] = [:]
        for worker in workers {
            for binding in worker.bindings {
                switch binding.target {
                case .d1(let resource, let migrations?):
                    if let first = databases[resource] {
                        guard first.migrations != migrations else { continue }
                        collector.error(
                            .invalidValue, at: binding.place, path: "\(path(worker.name)).\(binding.name)",
                            "database \"\(resource)\" has two sets of migrations: \"\(first.worker)\" names \"\(first.migrations.directory)\", \"\(worker.name)\" names \"\(migrations.directory)\"",
                            related: [.init(first.place, "the first one")])
                    } else {
                        databases[resource] = (migrations, worker.name, binding.place)
                    }
                case .vectorize(let resource, .some, .some):
                    if let first = indexes[resource] {
                        guard first.target != binding.target else { continue }
                        collector.error(
                            .invalidValue, at: binding.place, path: "\(path(worker.name)).\(binding.name)",
                            "vector index \"\(resource)\" has other dimensions or another metric in worker \"\(first.worker)\"",
                            related: [.init(first.place, "the first one")])
                    } else {
                        indexes[resource] = (binding.target, worker.name, binding.place)
                    }
                default: continue
                }
            }
        }
    }

    private func checkRoutes() {
        let routes = workers.flatMap { worker in worker.routes.map { (worker: worker.name, route: $0) } }
        for conflict in RouteConflict.among(routes.map(\.route.pattern)) {
            let (first, second) = (routes[conflict.first], routes[conflict.second])
            collector.error(
                .routeConflict, at: second.route.place, path: "\(path(second.worker)).routes",
                "route \"\(second.route.pattern)\" of \"\(second.worker)\" (\(second.route.place)) ties with \"\(first.route.pattern)\" of \"\(first.worker)\" (\(first.route.place)): some requests match both equally",
                fix: "make one of them more specific", related: [.init(first.route.place, "the other route")])
        }
        let domains = workers.flatMap { worker in
            worker.customDomains.map { (worker: worker.name, domain: $0) }
        }
        for conflict in RouteConflict.among(domains.map(\.domain.domain)) {
            let (first, second) = (domains[conflict.first], domains[conflict.second])
            collector.error(
                .routeConflict, at: second.domain.place, path: "\(path(second.worker)).domains",
                "host \"\(second.domain.domain)\" belongs to \"\(first.worker)\" (\(first.domain.place)) and to \"\(second.worker)\" (\(second.domain.place))",
                related: [.init(first.domain.place, "the other domain")])
        }
    }

    private func checkCounts() {
        let limits = (workers.first?.limits.profile ?? .paid).table
        let crons = workers.flatMap { worker in worker.crons.map { _ in worker } }
        if crons.count > limits.cronCountMax, let worker = crons.last {
            collector.error(
                .outOfRange, at: worker.place, path: "\(path(worker.name)).crons",
                "\(crons.count) cron expressions in all; \(worker.limits.profile.rawValue) allows \(limits.cronCountMax)"
            )
        }
        if workers.count > limits.workerCountMax, let worker = workers.last {
            collector.error(
                .outOfRange, at: worker.place, path: path(worker.name),
                "\(workers.count) workers in all; \(worker.limits.profile.rawValue) allows \(limits.workerCountMax)"
            )
        }
    }

    private func checkDatabases() {
        let plan = configuration.plan
        var names: Set<String> = []
        for worker in workers {
            for binding in worker.bindings {
                guard case .d1(let name, _) = binding.target, names.insert(name).inserted,
                    names.count == plan.table.d1CountMax + 1
                else { continue }
                collector.error(
                    .outOfRange, at: binding.place, path: "\(path(worker.name)).d1.\(binding.name)",
                    "more than \(plan.table.d1CountMax) D1 databases in all; \(plan.rawValue) allows no more")
            }
        }
    }

    private func checkMemory(_ nodeMemoryByteCount: Int?) {
        guard let nodeMemoryByteCount else { return }
        let sum = workers.reduce(0) { $0 + $1.isolates.countMin * $1.limits.memoryByteCount }
        guard sum > nodeMemoryByteCount,
            let largest = workers.max(by: {
                $0.isolates.countMin * $0.limits.memoryByteCount < $1.isolates.countMin
                    * $1.limits.memoryByteCount
            })
        else { return }
        collector.warning(
            .memory, at: configuration.setting("\(path(largest.name)).isolates.min")?.place ?? largest.place,
            path: "\(path(largest.name)).isolates.min",
            "the isolates that always run may use \(sum >> 20) MiB together; this node has \(nodeMemoryByteCount >> 20) MiB",
            fix: "lower isolates.min or limits.memory; \"\(largest.name)\" asks for most")
    }
}
