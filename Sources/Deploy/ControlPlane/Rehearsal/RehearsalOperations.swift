internal import Glibc
internal import Host
internal import Releases
internal import Stores
internal import Synchronization
internal import System

/// What `edge rehearse` and `edge record` need of a node.
enum RehearsalOperations {
    /// A rehearsal can't be begun.
    private static let refused: Int64 = 11410

    static func all(_ services: APIServices) -> [APIOperation] {
        [
            APIOperation(
                "POST", "/accounts/{account_id}/edge/rehearsals", id: "edge.rehearsals.create",
                "A copy of the account's state, which another node on this machine may serve; it goes with the connection",
                .account(.tenants, .edit),
                result: .raw(
                    about: "A line of JSON, {directory, copied_bytes, shared_bytes}; then line ends while the copy is there.")
            ) { call in
                guard let host = services.tenants else { throw APIError(503, 10013, "This node keeps no state of its own") }
                let clone: StateClone
                do { clone = try await StateClone.make(of: try services.accounts.runner(call), in: host.state) } catch let error
                    as RehearsalError
                {
                    throw APIError(409, Int(refused), "\(error)")
                }
                return .raw(
                    LocalResponse(
                        status: 200, headers: [("content-type", "application/x-ndjson"), ("cache-control", "no-store")],
                        body: .stream(RehearsalStream(clone, services.clock))))
            },
            APIOperation(
                "GET", "/accounts/{account_id}/edge/requests", id: "edge.requests.record",
                "Safe requests of clients, as they come: what a rehearsal repeats", .account(.tenants, .edit),
                query: [
                    .init("max", .integer(1...1_000_000), "Ends after so many; 1000."),
                    .init("credentials", .bool, "With headers that authenticate, too."),
                ],
                result: .raw(about: "Lines of JSON, {method, url, headers}.")
            ) { call in
                let runner = try services.accounts.runner(call)
                guard let active = await runner.active else {
                    throw APIError(503, 10013, "The account's workers are being started: try again", retryAfterSeconds: 1)
                }
                let recorder = RequestRecorder(
                    active.description, traces: { runner.traces(of: $0) }, clock: services.clock,
                    countMax: call.queryValue("max").flatMap { Int($0) } ?? 1000,
                    hasCredentials: call.queryValue("credentials") == "true")
                return .raw(
                    LocalResponse(
                        status: 200, headers: [("content-type", "application/x-ndjson"), ("cache-control", "no-store")],
                        body: .stream(recorder)))
            },
        ]
    }
}

/// Keeps a clone for as long as somebody listens. One reader at a time.
private final class RehearsalStream: BodySource {
    private struct State {
        var isBegun = false
        var isOver = false
    }

    private let clone: StateClone
    private let clock: any NodeClock
    private let state = Mutex(State())

    init(_ clone: StateClone, _ clock: any NodeClock) {
        self.clone = clone
        self.clock = clock
    }

    func next() async throws -> [UInt8]? {
        let (isFirst, isOver) = state.withLock { state in
            defer { state.isBegun = true }
            return (!state.isBegun, state.isOver)
        }
        if isOver { return nil }
        guard !isFirst else {
            return JSON.object([
                "directory": .string(clone.directory), "copied_bytes": .integer(clone.copiedByteCount),
                "shared_bytes": .integer(clone.sharedByteCount),
            ]).bytes + [0x0A]
        }
        // Often enough to find out soon that nobody reads any more.
        try await clock.sleep(for: .seconds(1))
        return [0x0A]
    }

    func cancel() { end() }

    private func end() {
        let isLast = state.withLock { state in
            defer { state.isOver = true }
            return !state.isOver
        }
        guard isLast else { return }
        let clone = clone
        SystemThread(name: "edge-rehearsal") {
            // Whoever served it may be ending still, and write once more. What stays is removed when the node starts next.
            for _ in 0..<Self.removalsMax {
                if (try? clone.remove()) != nil { return }
                usleep(Self.pauseMicroseconds)
            }
        }.start()
    }

    private static let removalsMax = 120
    private static let pauseMicroseconds: UInt32 = 500_000

    deinit { end() }
}
