internal import FoundationEssentials
package import Host
package import Releases
internal import Stores
internal import Synchronization
package import System

/// Answers requests on the control listener, and below `/cdn-cgi/` and `/__edge/` on public ones.
package final class Handler: LocalHandler {
    private struct State {
        var node: Node?
        var api: API?
        var s3: (any LocalHandler)?
        var drain: NodeDrain?
        var health: NodeHealth?
    }

    private let environment: String
    /// Whether other machines reach the control listener.
    private let isExposed: Bool
    private let accounts: Accounts
    private let metricsDetail: MetricsDetail
    private let clock: any NodeClock
    private let started: Instant
    private let state = Mutex(State())

    /// What `/metrics` has.
    package enum MetricsDetail: Sendable {
        /// Of the node as a whole.
        case totals
        /// Of each tenant, worker and zone as well.
        case full
    }

    /// - Parameter isExposed: whether other machines reach the control listener: then nothing there is answered without a
    ///   token but whether the node lives.
    package init(
        environment: String, accounts: Accounts, clock: any NodeClock, isExposed: Bool = false,
        metricsDetail: MetricsDetail = .full
    ) {
        self.metricsDetail = metricsDetail
        self.environment = environment
        self.isExposed = isExposed
        self.accounts = accounts
        self.clock = clock
        started = clock.now()
    }

    package func attach(node: Node, runner: ReleaseRunner) async {
        accounts.attach(runner)
        state.withLock { $0.node = node }
    }

    /// Serves the API on the control listener from now on.
    package func serve(_ api: API) { state.withLock { $0.api = api } }

    /// Serves the S3 API on listeners of its own from now on.
    package func serve(s3: any LocalHandler) { state.withLock { $0.s3 = s3 } }

    /// Says on readiness what these two know; until then the node is starting.
    package func report(_ drain: NodeDrain, _ health: NodeHealth?) {
        state.withLock { state in
            state.drain = drain
            state.health = health ?? state.health
        }
    }

    package func answer(_ request: LocalRequest) async -> LocalResponse {
        if let refusal = refusal(of: request) { return refusal }
        if request.listener == .s3 {
            guard let s3 = state.withLock({ $0.s3 }) else { return .text("the node is starting\n", status: 503) }
            return await s3.answer(request)
        }
        if request.listener == .control, API.isBelow(request.path), let api = state.withLock({ $0.api }) {
            return await api.answer(request)
        }
        switch (request.listener, request.method, request.path) {
        case (_, "GET", "/__edge/health/live"), (_, "HEAD", "/__edge/health/live"): return .text("live\n")
        case (_, "GET", "/__edge/health/ready"), (_, "HEAD", "/__edge/health/ready"): return readiness(request)
        case (_, "GET", "/cdn-cgi/trace"): return trace(request)
        case (_, _, "/cdn-cgi/handler/scheduled"): return await triggerScheduled(request)
        case (.control, "GET", "/status"): return await status()
        case (.control, "GET", "/metrics"): return await metrics()
        case (.control, _, _): return .failure(404, 7000, "No route for that URI")
        case (.edge, _, _), (.s3, _, _): return .text("not found\n", status: 404)
        }
    }

    /// What a request without a token gets where other machines reach the listener. The API asks for tokens itself.
    private func refusal(of request: LocalRequest) -> LocalResponse? {
        guard isExposed, request.listener == .control, !request.path.hasPrefix("/__edge/health/"), !API.isBelow(request.path)
        else { return nil }
        guard let api = state.withLock({ $0.api }) else { return .text("not ready\n", status: 503) }
        return api.refusal(of: request)
    }

    /// Why no requests should be sent here; empty: they should.
    private var reasons: [NodeHealth.Reason] {
        let (drain, health) = state.withLock { ($0.drain, $0.health) }
        guard let drain, drain.state != .starting else { return [.init("starting", "no release serves yet")] }
        let leaving: [NodeHealth.Reason] =
            drain.isLeaving ? [.init("draining", "the node is asked to get no more requests")] : []
        return leaving + (health?.reasons ?? [])
    }

    /// Fails first when the node drains, so that a load balancer sends no more. Strangers don't learn the details.
    private func readiness(_ request: LocalRequest) -> LocalResponse {
        let reasons = reasons
        let tellsAll = request.listener == .control && !isExposed
        var response: LocalResponse
        if request.header("accept")?.contains("application/json") == true {
            let list = reasons.map { reason in
                JSON.object(["code": .string(reason.code), "detail": tellsAll ? .string(reason.detail) : nil])
            }
            let json = JSON.object(["status": .string(reasons.isEmpty ? "ready" : "not ready"), "reasons": .array(list)])
            response = .json(String(decoding: json.bytes, as: UTF8.self) + "\n", status: reasons.isEmpty ? 200 : 503)
        } else if reasons.isEmpty {
            response = .text("ready\n")
        } else {
            let lines = reasons.map { tellsAll ? "\($0.code): \($0.detail)" : $0.code }
            response = .text("not ready\n" + lines.joined(separator: "\n") + "\n", status: 503)
        }
        response.headers.append(("cache-control", "no-store"))
        return response
    }

    private func trace(_ request: LocalRequest) -> LocalResponse {
        let milliseconds = clock.wallTime().milliseconds
        return .text(
            "h=\(request.host)\nts=\(milliseconds / 1000).\(String(1000 + milliseconds % 1000).dropFirst())\n"
                + "uag=\(request.header("user-agent") ?? "")\ncolo=LOC\nhttp=\(request.protocolName.lowercased())\nloc=XX\n")
    }

    // MARK: Events by hand

    /// `/cdn-cgi/handler/scheduled?cron=…&time=…`: fires a cron now. In dev only on public listeners.
    private func triggerScheduled(_ request: LocalRequest) async -> LocalResponse {
        guard environment == "dev" || request.listener == .control else {
            return .text("not found\n", status: 404)
        }
        let runners = accounts.runners
        let parameters = QueryParameters(request.query)
        let time = parameters["time"].flatMap(Int64.init).map(UnixTime.init(milliseconds:)) ?? clock.wallTime()
        var unknown = "no release is active"
        for runner in runners {
            switch await runner.fireCron(parameters["cron"], worker: parameters["worker"], at: time) {
            case .handled: return .text("ok\n")
            case .failed(let reason): return .text("\(reason)\n", status: 500)
            case .unknown(let reason): unknown = reason
            }
        }
        return .text("\(unknown)\n", status: 404)
    }

    // MARK: Status

    private struct Status: Encodable {
        struct Worker: Encodable {
            var tenant: String
            var name: String
            var version: String
            var isolates: Int
            var pids: [Int32]
            var residentBytes: UInt64
            var lastFailure: String?
        }
        /// A release that has isolates: the one that serves, the one that is to, and those that can serve again at once.
        struct Slot: Encodable {
            var tenant: String
            var role: String
            var release: Int64?
            var percent: Int
            var started: Int64
            var finished: Int64
            var open: Int64
            var requests: Int64
            var errors: Int64
            var p50Milliseconds: Double?
            var p99Milliseconds: Double?
        }
        var environment: String
        var ready: Bool
        var draining: Bool
        /// Why readiness fails.
        var notReady: [String]
        var uptimeSeconds: Int64
        var releases: [String: String]
        var slots: [Slot]
        var workers: [Worker]
        var connections: Int
        var waitingEvents: Int
        var requests: Int
        var retried: Int
        var responses: [String: Int]
    }

    private func status() async -> LocalResponse {
        let runners = accounts.runners
        let (node, drain) = state.withLock { ($0.node, $0.drain) }
        let reasons = reasons
        let snapshot = await node?.snapshot() ?? Node.Snapshot()
        let releases = await active(runners)
        let workers = releases.flatMap { release in
            release.workers.values.sorted { $0.name < $1.name }
        }
        let status = Status(
            environment: environment, ready: drain.map { $0.state != .starting } ?? false, draining: drain?.isLeaving ?? false,
            notReady: reasons.map { "\($0.code): \($0.detail)" },
            uptimeSeconds: (clock.now() - started).components.seconds,
            releases: Dictionary(releases.map { ($0.tenant, $0.name) }) { first, _ in first },
            slots: await slotStatuses(runners).map { tenant, slot in
                let (reading, latencies) = (slot.reading, slot.reading.latencies)
                return Status.Slot(
                    tenant: tenant, role: slot.role.rawValue, release: slot.release, percent: slot.percent,
                    started: reading[.started], finished: reading[.finished], open: reading.openCount,
                    requests: reading.requestCount, errors: reading.errorCount,
                    p50Milliseconds: latencies.percentile(0.5).map { $0 / 1000 },
                    p99Milliseconds: latencies.percentile(0.99).map { $0 / 1000 })
            },
            workers: workers.map { worker in
                Status.Worker(
                    tenant: worker.configuration.tenant, name: worker.name, version: worker.configuration.version,
                    isolates: worker.pool.readyCount,
                    pids: worker.pool.processIDs, residentBytes: worker.pool.residentBytes,
                    lastFailure: worker.pool.lastFailure)
            },
            connections: snapshot.connections, waitingEvents: snapshot.waitingEvents,
            requests: snapshot.counters.requests, retried: snapshot.counters.retried,
            responses: Dictionary(
                uniqueKeysWithValues: snapshot.counters.responsesByClass.enumerated().map { ("\($0 + 1)xx", $1) }))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(status) else { return .text("status cannot be encoded\n", status: 500) }
        return .json(String(decoding: data, as: UTF8.self) + "\n")
    }

    /// What serves now, by tenant.
    private func active(_ runners: [ReleaseRunner]) async -> [ReleaseRuntime] {
        var releases: [ReleaseRuntime] = []
        for runner in runners {
            if let release = await runner.active?.release { releases.append(release) }
        }
        return releases.sorted { $0.tenant < $1.tenant }
    }

    private func slotStatuses(_ runners: [ReleaseRunner]) async -> [(tenant: String, slot: ReleaseRunner.SlotStatus)] {
        var slots: [(tenant: String, slot: ReleaseRunner.SlotStatus)] = []
        for runner in runners.sorted(by: { $0.tenant < $1.tenant }) {
            slots += await runner.slotStatuses().map { (runner.tenant, $0) }
        }
        return slots
    }

    private func labels(_ worker: WorkerRuntime) -> String {
        "{tenant=\"\(worker.configuration.tenant)\",worker=\"\(worker.name)\"}"
    }

    /// Prometheus' text format, version 0.0.4.
    private func metrics() async -> LocalResponse {
        let (node, runners) = (state.withLock { $0.node }, accounts.runners)
        let snapshot = await node?.snapshot() ?? Node.Snapshot()
        var text = ""
        func family(_ name: String, _ kind: String, _ help: String, _ samples: [(labels: String, value: Int)]) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
            for sample in samples { text += "\(name)\(sample.labels) \(sample.value)\n" }
        }
        let counters = snapshot.counters
        family("edge_requests_total", "counter", "Requests whose head was read.", [("", counters.requests)])
        family(
            "edge_responses_total", "counter", "Answers written, by class of status.",
            counters.responsesByClass.enumerated().map { ("{class=\"\($0 + 1)xx\"}", $1) })
        family("edge_requests_retried_total", "counter", "Safe requests tried on a second isolate.", [("", counters.retried)])
        family("edge_client_aborts_total", "counter", "Clients that left before their answer.", [("", counters.clientAborts)])
        family("edge_malformed_requests_total", "counter", "Requests that are no HTTP.", [("", counters.parseErrors)])
        family("edge_connections_accepted_total", "counter", "Connections taken.", [("", counters.connectionsAccepted)])
        family(
            "edge_connections_refused_total", "counter", "Connections refused at a limit.", [("", counters.connectionsRefused)])
        family(
            "edge_tls_handshakes_total", "counter", "TLS handshakes that were completed.",
            [
                ("{resumed=\"false\"}", counters.handshakes - counters.handshakesResumed),
                ("{resumed=\"true\"}", counters.handshakesResumed),
            ])
        family(
            "edge_tls_handshakes_failed_total", "counter", "TLS handshakes that failed or took too long.",
            [("", counters.handshakesFailed)])
        family("edge_http2_connections_total", "counter", "Connections that speak HTTP/2.", [("", counters.http2Connections)])
        family(
            "edge_http2_floods_total", "counter", "HTTP/2 connections whose client sent too much that leads nowhere.",
            [("", counters.http2Floods)])
        family("edge_connections", "gauge", "Connections open.", [("", snapshot.connections)])
        family("edge_events_waiting", "gauge", "Events waiting for an isolate.", [("", snapshot.waitingEvents)])
        if metricsDetail == .totals { return Self.metrics(text) }
        let caches = runners.flatMap { runner in
            runner.cache.statistics.map { ("{tenant=\"\(runner.tenant)\",zone=\"\($0.zone)\"", $0) }
        }
        family(
            "edge_cache_responses_total", "counter", "Answers by what the cache had to do with them.",
            caches.flatMap { labels, zone in
                zone.answers.sorted { $0.key.rawValue < $1.key.rawValue }.map {
                    ("\(labels),status=\"\($0.key.rawValue.lowercased())\"}", $0.value)
                }
            })
        family(
            "edge_cache_evictions_total", "counter", "Responses that made room for others.",
            caches.map { ($0.0 + "}", $0.1.evictions) })
        family("edge_cache_entries", "gauge", "Responses kept.", caches.map { ($0.0 + "}", $0.1.entries) })
        family(
            "edge_cache_bytes", "gauge", "What they take on disk.", caches.map { ($0.0 + "}", Int(clamping: $0.1.byteCount)) })
        let workers = await active(runners).flatMap { $0.workers.values.sorted { $0.name < $1.name } }
        family(
            "edge_isolates", "gauge", "Isolates that are ready.",
            workers.map { (labels($0), $0.pool.readyCount) })
        family(
            "edge_isolates_resident_bytes", "gauge", "Resident memory of a worker's isolates.",
            workers.map { (labels($0), Int(clamping: $0.pool.residentBytes)) })
        let slots = await slotStatuses(runners).filter { $0.slot.release != nil }
        func slotLabels(
            _ tenant: String, _ slot: ReleaseRunner.SlotStatus, _ name: String = "", _ value: String = ""
        ) -> String {
            let more = name.isEmpty ? "" : ",\(name)=\"\(value)\""
            return "{tenant=\"\(tenant)\",release=\"\(slot.release ?? 0)\"\(more)}"
        }
        family(
            "edge_release_percent", "gauge", "A release's share of new requests.",
            slots.map { tenant, slot in (slotLabels(tenant, slot, "role", slot.role.rawValue), slot.percent) })
        let requests: [(name: String, help: String, value: (MeterReading) -> Int64)] = [
            ("started", "Requests that came in for a release.", { $0[.started] }),
            ("finished", "Those answered to the last byte.", { $0[.finished] }),
            ("retried", "Those that a second isolate had to try.", { $0[.retried] }),
            ("failed", "Answers of 5xx, and those that broke off.", { $0.errorCount }),
        ]
        for (name, help, value) in requests {
            family(
                "edge_release_requests_\(name)_total", "counter", help,
                slots.map { tenant, slot in (slotLabels(tenant, slot), Int(clamping: value(slot.reading))) })
        }
        for (name, help, counter) in [
            ("calls", "Calls between a release's workers, and events of its durable objects.", MeterCounter.calls),
            ("call_errors", "Those of them that failed.", .callErrors),
        ] {
            family(
                "edge_release_\(name)_total", "counter", help,
                slots.map { tenant, slot in (slotLabels(tenant, slot), Int(clamping: slot.reading[counter])) })
        }
        var times: [(labels: String, value: Int)] = []
        for (tenant, slot) in slots {
            for (name, part) in [("0.5", 0.5), ("0.99", 0.99)] {
                guard let time = slot.reading.latencies.percentile(part) else { continue }
                times.append((slotLabels(tenant, slot, "quantile", name), Int(time)))
            }
        }
        family(
            "edge_release_handler_microseconds", "gauge", "Handler times of a release since it was started, waiting included.",
            times)
        return Self.metrics(text)
    }

    private static func metrics(_ text: String) -> LocalResponse {
        LocalResponse(
            status: 200, headers: [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
            body: .bytes(Array(text.utf8)))
    }
}

extension LocalResponse {
    /// The envelope of the product's API.
    fileprivate static func failure(_ status: Int, _ code: Int, _ message: String) -> LocalResponse {
        struct Envelope: Encodable {
            struct Item: Encodable {
                var code: Int
                var message: String
            }
            var success = false
            var errors: [Item]
            var messages: [Item] = []
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(Envelope(errors: [.init(code: code, message: message)])) else {
            return .text("\(message)\n", status: status)
        }
        return .json(String(decoding: data, as: UTF8.self) + "\n", status: status)
    }
}

/// The parameters of a query, decoded; the first of each name.
struct QueryParameters {
    private var values: [String: String] = [:]

    init(_ query: String) {
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = Self.decode(parts[0])
            if values[name] == nil { values[name] = parts.count == 2 ? Self.decode(parts[1]) : "" }
        }
    }

    subscript(_ name: String) -> String? { values[name] }

    private static func decode(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == 0x25, rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == 0x2B ? 0x20 : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
