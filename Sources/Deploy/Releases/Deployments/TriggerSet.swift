internal import Configuration
internal import HTTP
internal import System

/// All that brings events to one worker.
package struct TriggerSet: Sendable {
    package let worker: String
    package let routes: [String]
    package let domains: [String]
    package let crons: [String]

    package init(worker: String, routes: [String], domains: [String], crons: [String]) {
        self.worker = worker
        self.routes = routes
        self.domains = domains
        self.crons = crons
    }

    fileprivate var triggers: [(kind: ScriptTrigger.Kind, value: String)] {
        routes.map { (.route, $0) } + domains.map { (.domain, $0) } + crons.map { (.cron, $0) }
    }

    fileprivate func check() throws {
        do throws(RoutePatternError) {
            for route in routes { _ = try RoutePattern(route, for: worker) }
            for domain in domains { _ = try CustomDomain(domain, for: worker) }
        } catch { throw ScriptError(400, 10022, "\(error) \(error.fix)") }
        for cron in crons {
            do throws(CronError) { _ = try CronExpression(cron) } catch {
                throw ScriptError(400, 10100, "invalid cron string: \(error)")
            }
        }
    }
}

extension ReleaseRunner {
    /// Replaces the routes, domains and crons of these workers, all of them or none.
    ///
    /// - Returns: a line for each that comes or goes: `+ route example.com/* (api)`.
    package func setTriggers(_ sets: [TriggerSet]) async throws -> [String] {
        for set in sets { try set.check() }
        let now = clock.wallTime()
        return try await changeTriggers { triggers, isWorker in
            let before = triggers
            let named = Set(sets.map(\.worker))
            var after = before.filter { trigger in trigger.worker.map { !named.contains($0) } ?? true }
            for set in sets {
                guard isWorker(set.worker) else { throw ScriptError(404, 10090, "The service \(set.worker) does not exist") }
                for (kind, value) in set.triggers {
                    if kind != .cron, let other = after.first(where: { $0.kind == kind && $0.value == value }) {
                        let owner = other.worker.map { "\"\($0)\"" } ?? "no worker"
                        throw ScriptError(
                            409, 10020,
                            "Can't deploy routes that are assigned to another worker. \(owner) is already assigned to "
                                + "\(value)")
                    }
                    let known = before.first { $0.kind == kind && $0.value == value && $0.worker == set.worker }
                    after.append(
                        known ?? ScriptTrigger(id: RandomID.hex(), kind: kind, worker: set.worker, value: value, at: now))
                }
            }
            triggers = after
            func lines(_ mark: String, _ these: [ScriptTrigger], without others: [ScriptTrigger]) -> [String] {
                let ids = Set(others.map(\.id))
                return these.filter { !ids.contains($0.id) }.map {
                    "\(mark) \($0.kind.rawValue) \($0.value) (\($0.worker ?? "no worker"))"
                }
            }
            return lines("-", before, without: after) + lines("+", after, without: before)
        }
    }
}
