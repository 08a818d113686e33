internal import ControlPlane
internal import OpenSSL
internal import System

/// Sends requests of a recording to two releases of a node that rehearses, one after the other, and compares the answers.
struct Replay {
    let address: NodeAddress
    var old: Int64
    var new: Int64
    var comparison = AnswerComparison()
    /// Added to each request, in place of those of the same name.
    var headers: [(name: String, value: String)] = []
    var sendsUnsafe = false
    let clock: any NodeClock

    struct Outcome: Sendable {
        var equalCount = 0
        var skippedCount = 0
        /// Request and differences; the first ones.
        var different: [(request: String, differences: [String])] = []
        var differentCount = 0
        /// Of those that were sent again, how many are answered in another way now.
        var laterCount = 0
        var oldDurations: [Duration] = []
        var newDurations: [Duration] = []
        /// What the new release answered each request that was sent; 0: nothing.
        var newStatuses: [UInt16] = []

        private static let shownMax = 100

        mutating func show(_ request: Recording.Request, _ differences: [String]) {
            guard different.count < Self.shownMax else { return }
            different.append(("\(request.method) \(request.host)\(request.target)", differences))
        }
    }

    private static let patience = Duration.seconds(60)
    private static let bodyBytesMax: Int64 = 256 << 20
    private static let jsonBytesMax = 4 << 20

    func run(_ recording: Recording) async throws -> Outcome {
        let node = NodeClient(address, patience: Self.patience)
        var outcome = Outcome()
        for request in recording.requests {
            if Interrupts.count > 0 { throw RehearsalInterrupted() }
            guard request.isSafe || sendsUnsafe else {
                outcome.skippedCount += 1
                continue
            }
            let before = await answer(request, of: old, node)
            let after = await answer(request, of: new, node)
            outcome.oldDurations.append(before.duration)
            outcome.newDurations.append(after.duration)
            outcome.newStatuses.append(Self.status(after))
            let differences = comparison.differences(before, after)
            guard !differences.isEmpty else {
                outcome.equalCount += 1
                continue
            }
            outcome.differentCount += 1
            outcome.show(request, differences)
        }
        return outcome
    }

    /// Sends them once more, to the new release alone: something was done meanwhile that it must live with.
    ///
    /// - Parameter outcome: of the first time; what is answered with another status now is added.
    func again(_ recording: Recording, _ outcome: inout Outcome, after what: String) async throws {
        let node = NodeClient(address, patience: Self.patience)
        var before = outcome.newStatuses.makeIterator()
        for request in recording.requests where request.isSafe || sendsUnsafe {
            if Interrupts.count > 0 { throw RehearsalInterrupted() }
            guard let old = before.next() else { return }
            let new = Self.status(await answer(request, of: new, node))
            guard new != old else { continue }
            outcome.laterCount += 1
            outcome.show(request, ["\(what): status \(Self.text(old)) → \(Self.text(new))"])
        }
    }

    private static func status(_ answer: ReplayedAnswer) -> UInt16 {
        answer.failure == nil ? UInt16(clamping: answer.status) : 0
    }

    private static func text(_ status: UInt16) -> String { status == 0 ? "none" : "\(status)" }

    private func answer(_ request: Recording.Request, of release: Int64, _ node: NodeClient) async -> ReplayedAnswer {
        var answer = ReplayedAnswer()
        let start = clock.now()
        defer { answer.duration = clock.now() - start }
        let added = Set(headers.map(\.name))
        let all =
            request.headers.filter { !added.contains($0.name) && $0.name != "host" && $0.name != "content-length" } + headers
            + [
                ("host", request.host), ("edge-release-override", "\(release)"),
            ]
        do {
            let reply = try await node.send(
                request.method, request.target, headers: all, body: request.body.map { .bytes($0, contentType: nil) })
            answer.status = reply.status
            for name in ReplayedAnswer.comparedHeaders { answer.headers[name] = reply.header(name) }
            try await read(reply, into: &answer)
        } catch { answer.failure = "no answer (\(error))" }
        return answer
    }

    private func read(_ reply: NodeClient.Answer, into answer: inout ReplayedAnswer) async throws {
        var digest = Digest(.sha256)
        var kept: [UInt8] = []
        while let piece = try await reply.next() {
            answer.byteCount += Int64(piece.count)
            guard answer.byteCount <= Self.bodyBytesMax else { throw APIFailure("a body of more than 256 MiB") }
            digest.update(piece)
            if kept.count <= Self.jsonBytesMax { kept += piece }
        }
        answer.digest = digest.finish()
        let isJSON = answer.headers["content-type"]?.contains("json") ?? false
        if isJSON, kept.count <= Self.jsonBytesMax { answer.json = JSON(kept) }
    }
}
