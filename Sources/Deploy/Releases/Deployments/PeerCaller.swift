internal import FoundationEssentials
internal import HTTP
package import Host
internal import System

/// Asks another node of a coordinated deployment how far it has come there: `GET …/edge/coordination/ID` of its control listener.
/// It needs no token: whoever knows the deployment's id, which is random, was told it by the leader or by a node.
package struct PeerCaller: Sendable {
    private let node: Node
    private let tenant: String

    /// An answer that takes longer is none.
    private static let patience = Duration.seconds(5)
    private static let answerBytesMax = 16 << 10
    /// Of `ReleaseFailure`: there is no such deployment.
    private static let unknown = 11404

    package init(node: Node, tenant: String) {
        self.node = node
        self.tenant = tenant
    }

    package func ask(_ peer: Coordination.Peer, _ id: String) async -> CoordinationPoll.Answer {
        let path = ["client", "v4", "accounts", tenant, "edge", "coordination", id].map {
            PercentEncoding.encodeComponent($0)
        }
        let url = peer.url + "/" + path.joined(separator: "/")
        let (client, clock) = (node.outbound, node.clock)
        return await withTaskGroup(of: CoordinationPoll.Answer.self) { group in
            group.addTask { await Self.get(url, of: peer, by: client) }
            group.addTask {
                do { try await clock.sleep(for: Self.patience) } catch {}
                return .unreached("no answer within \(Self.patience.components.seconds) s")
            }
            defer { group.cancelAll() }
            return await group.next() ?? .unreached("not asked")
        }
    }

    private static func get(
        _ url: String, of peer: Coordination.Peer, by client: OutboundClient
    ) async -> CoordinationPoll.Answer {
        do {
            // The leader names the address: whatever it is, it is meant, as with hooks.
            let response = try await client.fetch(
                OutboundRequest(method: "GET", url: url, redirect: .manual),
                policy: OutboundPolicy(privateAddresses: .allowed) { _, _ in true })
            var body: [UInt8] = []
            while body.count <= answerBytesMax, let piece = try await response.body?.next() { body += piece }
            response.body?.cancel()
            return answer(response.status, body, of: peer)
        } catch {
            return .unreached("\(error)")
        }
    }

    /// What the envelope of the answer says.
    private struct Envelope: Decodable {
        struct Result: Decodable {
            var node: String
            var vote: String
        }
        struct Cause: Decodable { var code: Int }
        var result: Result?
        var errors: [Cause]?
    }

    static func answer(_ status: Int, _ body: [UInt8], of peer: Coordination.Peer) -> CoordinationPoll.Answer {
        guard body.count <= answerBytesMax, let envelope = try? JSONDecoder().decode(Envelope.self, from: Data(body)) else {
            return .unreached("it answers \(status), but not as a node does")
        }
        if status == 404, envelope.errors?.contains(where: { $0.code == unknown }) == true { return .stranger }
        guard status == 200, let result = envelope.result else { return .unreached("it answers \(status)") }
        // Two machines may know the same address as different nodes, such as loopback ones.
        guard result.node == peer.name else { return .unreached("\(peer.url) is another node: \(result.node)") }
        guard let vote = Coordination.Vote(rawValue: result.vote) else {
            return .unreached("it says \"\(result.vote)\", which this version doesn't know")
        }
        return .vote(vote)
    }
}
