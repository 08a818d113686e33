internal import Caching
internal import Configuration
internal import HTTP
internal import System

/// What the API does to routes, domains and crons.
extension ReleaseRunner {
    // MARK: Crons

    /// Replaces all crons of a worker.
    package func setCrons(_ crons: [String], of worker: String) async throws -> [ScriptTrigger] {
        var texts: [String] = []
        for cron in crons {
            do throws(CronError) { _ = try CronExpression(cron) } catch {
                throw ScriptError(400, 10100, "invalid cron string: \(error)")
            }
            if !texts.contains(cron) { texts.append(cron) }
        }
        let (wanted, now) = (texts, clock.wallTime())
        return try await changeTriggers { triggers, isWorker in
            guard isWorker(worker) else { throw ScriptError.unknownWorker }
            let before = triggers.filter { $0.kind == .cron && $0.worker == worker }
            triggers.removeAll { $0.kind == .cron && $0.worker == worker }
            triggers += wanted.map { text in
                before.first { $0.value == text }
                    ?? ScriptTrigger(id: RandomID.hex(), kind: .cron, worker: worker, value: text, at: now)
            }
            return triggers
        }
    }

    // MARK: Routes

    /// - Parameter zone: the domain that they are of; `nil` for all.
    package func routes(in zone: String?) throws -> [ScriptTrigger] {
        try triggers().filter { $0.kind == .route && Self.isRoute($0.value, in: zone) }
    }

    package func addRoute(_ text: String, to worker: String?, in zone: String?) async throws -> ScriptTrigger {
        let pattern = try Self.pattern(text, worker, zone)
        let route = ScriptTrigger(id: RandomID.hex(), kind: .route, worker: worker, value: text, at: clock.wallTime())
        return try await changeTriggers { triggers, isWorker in
            try Self.check(pattern, worker, triggers, isWorker)
            triggers.append(route)
            return route
        }
    }

    package func changeRoute(
        _ id: String, _ text: String, to worker: String?, in zone: String?
    ) async throws -> ScriptTrigger {
        let (pattern, now) = (try Self.pattern(text, worker, zone), clock.wallTime())
        return try await changeTriggers { triggers, isWorker in
            let index = try Self.index(of: id, zone, triggers)
            try Self.check(pattern, worker, triggers.filter { $0.id != id }, isWorker)
            triggers[index].worker = worker
            triggers[index].value = text
            triggers[index].modifiedAt = now
            return triggers[index]
        }
    }

    package func removeRoute(_ id: String, in zone: String?) async throws {
        try await changeTriggers { triggers, _ in
            triggers.remove(at: try Self.index(of: id, zone, triggers))
            return ()
        }
    }

    private static func index(of id: String, _ zone: String?, _ triggers: [ScriptTrigger]) throws -> Int {
        guard let index = triggers.firstIndex(where: { $0.id == id && $0.kind == .route && isRoute($0.value, in: zone) }) else {
            throw ScriptError(404, 10009, "Route not found")
        }
        return index
    }

    private static func isRoute(_ text: String, in zone: String?) -> Bool {
        guard let zone else { return true }
        return (try? RoutePattern(text, for: "")).map { ZoneName.of(host: $0.host) == zone } ?? false
    }

    private static func pattern(_ text: String, _ worker: String?, _ zone: String?) throws -> RoutePattern {
        let pattern: RoutePattern
        do throws(RoutePatternError) { pattern = try RoutePattern(text, for: worker ?? "no worker") } catch {
            throw ScriptError(400, 10022, "\(error) \(error.fix)")
        }
        guard isRoute(text, in: zone) else {
            throw ScriptError(400, 10022, "Route \"\(text)\" is none of the zone \(zone ?? ""): its host must be")
        }
        return pattern
    }

    private static func check(
        _ pattern: RoutePattern, _ worker: String?, _ triggers: [ScriptTrigger], _ isWorker: (String) -> Bool
    ) throws {
        if let worker, !isWorker(worker) { throw ScriptError.unknownWorker }
        for other in triggers where other.kind == .route {
            guard let taken = try? RoutePattern(other.value, for: ""), taken.text == pattern.text || taken.ties(with: pattern)
            else { continue }
            throw ScriptError(
                409, 10020, "A route with the same pattern already exists: \"\(other.value)\" (\(other.worker ?? "no worker"))")
        }
    }

    // MARK: Domains

    package func setDomain(_ host: String, to worker: String) async throws -> ScriptTrigger {
        let domain: CustomDomain
        do throws(RoutePatternError) { domain = try CustomDomain(host, for: worker) } catch {
            throw ScriptError(400, 10022, "\(error); \(error.fix)")
        }
        let now = clock.wallTime()
        return try await changeTriggers { triggers, isWorker in
            guard isWorker(worker) else { throw ScriptError(404, 10090, "The service \(worker) does not exist") }
            if let index = triggers.firstIndex(where: { $0.kind == .domain && $0.value == domain.host }) {
                triggers[index].worker = worker
                triggers[index].modifiedAt = now
                return triggers[index]
            }
            let made = ScriptTrigger(id: RandomID.hex(), kind: .domain, worker: worker, value: domain.host, at: now)
            triggers.append(made)
            return made
        }
    }

    package func removeDomain(_ id: String) async throws {
        try await changeTriggers { triggers, _ in
            guard let index = triggers.firstIndex(where: { $0.id == id && $0.kind == .domain }) else {
                throw ScriptError(404, 10013, "Domain not found")
            }
            triggers.remove(at: index)
            return ()
        }
    }
}
