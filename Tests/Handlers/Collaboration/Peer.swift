import Collaboration
import Foundation

/// A client under test: the browser's, or one that was written for these tests after the same description.
protocol Peer: AnyObject {
    var text: String { get }
    var hasUnsaved: Bool { get }
    func join() throws -> String
    func edit(_ operation: TextOperation) throws
    /// What it would send now.
    func take() throws -> String?
    /// - Returns: whether it can go on; else it has to join anew.
    func receive(_ message: String) throws -> Bool
    func disconnect() throws
    /// As a page that is closed and opened again.
    func reload() throws
}

struct PeerError: Error {
    var text: String
}

/// A client in Swift: one operation on its way, one that waits.
final class SwiftPeer: Peer {
    private struct Joined: Decodable {
        struct Step: Decodable {
            var revision: Int
            var operation: TextOperation?
            var acknowledges: Int?
        }
        var revision: Int
        var text: String?
        var steps: [Step]?
        var acknowledged: Int?
    }
    private struct Event: Decodable {
        var type: String
        var revision: Int?
        var sequence: Int?
        var client: String?
        var operation: TextOperation?
    }

    private let client: String
    private var revision: Int?
    private var document = TextDocument()
    private var sequence = 0
    private var inflight: TextOperation?
    private var waiting: TextOperation?
    private var isSent = false
    private var isJoined = false

    init(client: String) { self.client = client }

    var text: String { document.text }
    var hasUnsaved: Bool { inflight != nil || waiting != nil }

    func join() -> String {
        disconnect()
        return #"{"type":"join","client":"\#(client)"\#(revision.map { ",\"revision\":\($0)" } ?? "")}"#
    }

    func edit(_ operation: TextOperation) throws {
        try document.apply(operation)
        waiting = try waiting?.composed(with: operation) ?? operation
    }

    func take() throws -> String? {
        guard isJoined, !isSent, let revision else { return nil }
        if inflight == nil {
            guard let next = waiting else { return nil }
            inflight = next
            waiting = nil
            sequence += 1
        }
        isSent = true
        let json = String(decoding: try JSONEncoder().encode(inflight), as: UTF8.self)
        return #"{"type":"operation","sequence":\#(sequence),"revision":\#(revision),"operation":\#(json)}"#
    }

    func receive(_ message: String) throws -> Bool {
        let event = try JSONDecoder().decode(Event.self, from: Data(message.utf8))
        switch event.type {
        case "joined":
            let joined = try JSONDecoder().decode(Joined.self, from: Data(message.utf8))
            isJoined = true
            if let steps = joined.steps {
                for step in steps {
                    if let operation = step.operation { try remote(operation) } else { confirm(step.acknowledges) }
                }
            } else {
                guard revision == nil || !hasUnsaved else { throw PeerError(text: "this peer can't merge a snapshot") }
                document = TextDocument(joined.text ?? "")
                // What was typed before the first join.
                if let before = waiting {
                    waiting = nil
                    var operation = TextOperation(identity: document.length)
                    for case .insert(let units) in before.components { operation.insert(units) }
                    try edit(operation)
                }
            }
            revision = joined.revision
        case "operation":
            guard let number = event.revision, let operation = event.operation, let known = revision else { return true }
            guard isJoined, number > known else { return true }
            guard number == known + 1 else { return false }
            if event.client == client, event.sequence == sequence, inflight != nil {
                confirm(sequence)
            } else {
                try remote(operation)
            }
            revision = number
        case "ack":
            guard inflight != nil, event.sequence == sequence else { return true }
            confirm(sequence)
            if let number = event.revision { revision = max(revision ?? 0, number) }
        default: break
        }
        return true
    }

    func disconnect() {
        isJoined = false
        isSent = false
    }

    func reload() { disconnect() }

    private func confirm(_ number: Int?) {
        guard number == sequence else { return }
        inflight = nil
        isSent = false
    }

    private func remote(_ operation: TextOperation) throws {
        var shown = operation
        if let own = inflight { (shown, inflight) = try TextOperation.transform(shown, own) }
        if let own = waiting { (shown, waiting) = try TextOperation.transform(shown, own) }
        try document.apply(shown)
    }
}
