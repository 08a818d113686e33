package import Configuration
package import Host
internal import HTTP
internal import System

/// Sends smoke tests to a candidate that nobody else gets to: each over a connection of its own through the node's router, as a
/// client of the worker's route would, with the candidate named in `Edge-Release-Override`.
package struct SmokeRunner: SmokeTests {
    private let node: Node
    private let routing: RoutingDirectory
    private let tenant: String

    /// All tests together (spec: deploys, C2).
    static let durationMax = Duration.seconds(120)
    /// A node that has no room for a connection may have some in a moment.
    private static let connectTriesMax = 3

    package init(node: Node, routing: RoutingDirectory, tenant: String) {
        self.node = node
        self.routing = routing
        self.tenant = tenant
    }

    package func run(_ tests: [(worker: String, test: SmokeTest)], release: Int64) async -> [SmokeResult] {
        let end = ContinuousClock.now + Self.durationMax
        let description = await routing.description(of: release, tenant: tenant)
        var results: [SmokeResult] = []
        // One after the other: a test may need what the one before it has made.
        for (worker, test) in tests {
            let start = ContinuousClock.now
            let failure: String?
            if start >= end || Task.isCancelled {
                failure = "it was not run: all tests together may take \(Self.durationMax.text)"
            } else if let description {
                failure = await run(test, of: worker, description, before: min(end, start + test.deadline))
            } else {
                failure = "release \(release) can't be reached"
            }
            results.append(
                SmokeResult(
                    worker: worker, request: "\(test.method) \(test.path)", failure: failure,
                    duration: ContinuousClock.now - start
                ))
        }
        return results
    }

    private func run(
        _ test: SmokeTest, of worker: String, _ description: ReleaseDescription, before deadline: ContinuousClock.Instant
    ) async -> String? {
        guard let host = Self.host(of: worker, for: test, in: description) else {
            return "no route leads to the worker: give it one, or test it by way of a worker that calls it"
        }
        let request = Self.request(test, host: host, release: description.number)
        var tries = 0
        while true {
            tries += 1
            do throws(SystemError) {
                let socket = try await node.connectToItself()
                return await Self.exchange(request, test, socket, deadline)
            } catch {
                guard tries < Self.connectTriesMax, ContinuousClock.now < deadline else { return "no connection: \(error)" }
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// On a thread of its own: the answer may take as long as the test allows.
    private static func exchange(
        _ request: [UInt8], _ test: SmokeTest, _ socket: LoopbackSocket, _ deadline: ContinuousClock.Instant
    ) async -> String? {
        await withCheckedContinuation { continuation in
            SystemThread(name: "edge-smoke") {
                var exchange = SmokeExchange(socket, before: deadline)
                let failure: String?
                do throws(SmokeExchange.Failure) {
                    let answer = try exchange.run(request, isHead: test.method == "HEAD")
                    failure = SmokeCheck.failure(of: answer, test)
                } catch {
                    failure =
                        switch error {
                        case .late: "it took longer than \(test.deadline.text)"
                        case .malformed(let reason): "the answer is malformed: \(reason)"
                        case .ended: "the connection ended before the answer did"
                        }
                }
                continuation.resume(returning: failure)
            }.start()
        }
    }

    // MARK: The request

    /// The host under which the worker has the test's path; the one that the test names, if it does.
    static func host(of name: String, for test: SmokeTest, in description: ReleaseDescription) -> String? {
        if let host = test.headers.first(where: { $0.key.lowercased() == "host" })?.value { return host }
        guard let worker = description.workers.first(where: { $0.name == name }) else { return nil }
        if let domain = worker.domains.first { return domain.host }
        let path = test.path.prefix { $0 != "?" }
        let fitting = worker.routes.first { $0.pathHasWildcard ? path.hasPrefix($0.path) : path == $0.path }
        guard let route = fitting ?? worker.routes.first else { return nil }
        guard route.hostHasWildcard else { return route.host }
        // `*` alone takes any host; `*example.com` and `*.example.com` want something in front of the rest.
        return route.host.isEmpty ? "localhost" : "smoke" + (route.host.hasPrefix(".") ? "" : ".") + route.host
    }

    static func request(_ test: SmokeTest, host: String, release: Int64) -> [UInt8] {
        var lines = ["\(test.method) \(test.path) HTTP/1.1", "Host: \(host)"]
        let names = Set(test.headers.keys.map { $0.lowercased() })
        if !names.contains("user-agent") { lines.append("User-Agent: edge-smoke-test") }
        if !names.contains("accept") { lines.append("Accept: */*") }
        for (name, value) in test.headers.sorted(by: { $0.key < $1.key }) {
            guard !["host", "connection", "content-length", "transfer-encoding"].contains(name.lowercased()) else { continue }
            lines.append("\(name): \(value)")
        }
        lines += ["Edge-Release-Override: \(release)", "Connection: close"]
        let body = Array((test.body ?? "").utf8)
        if test.body != nil || ["POST", "PUT", "PATCH"].contains(test.method) { lines.append("Content-Length: \(body.count)") }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body
    }
}

extension Duration {
    /// `500 ms`, `2 s`.
    var text: String {
        let milliseconds = wholeMilliseconds
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }
}
