import Foundation
import Testing

@testable import Collaboration

private let owner = "00000000-0000-7000-8000-000000000001"
private let alice = "00000000-0000-7000-8000-00000000000a"
private let bob = "00000000-0000-7000-8000-00000000000b"

/// A room with its members, and what each of them has been told.
private final class Scene {
    let storage = MemoryRoomStorage()
    private(set) var room: Room<MemoryRoomStorage>
    private(set) var inboxes: [String: [[String: JSONValue]]] = [:]
    private(set) var closed: [String: RoomClosing] = [:]
    private(set) var notifications: [RoomNotification] = []
    private(set) var kept: [String: Member] = [:]
    private let limits: RoomLimits
    var now: Int64 = 1_000_000

    init(access: RoomRole = .editor, limits: RoomLimits = RoomLimits()) throws {
        self.limits = limits
        _ = try Room.create(
            RoomSettings(id: "room-1", name: "Plan", access: access, createdBy: owner, createdAt: 0), in: storage)
        room = try Room(storage, limits: limits)
    }

    /// The object leaves memory and comes back.
    func reopen() throws { room = try Room(storage, members: Array(kept.values), limits: limits) }

    func connect(_ id: String, _ user: String, isAdmin: Bool = false) throws {
        try take(room.connect(id, user: user, name: "name-" + user.suffix(1), isAdmin: isAdmin, now: now))
    }

    @discardableResult
    func join(_ id: String, _ user: String, client: String? = nil, revision: Int? = nil) throws -> [String: JSONValue] {
        try connect(id, user)
        let revision = revision.map { ",\"revision\":\($0)" } ?? ""
        return try send(id, #"{"type":"join","client":"\#(client ?? "client-" + id)"\#(revision)}"#)
    }

    /// - Returns: the last thing that the sender is told.
    @discardableResult
    func send(_ id: String, _ text: String) throws -> [String: JSONValue] {
        let before = inboxes[id]?.count ?? 0
        try take(room.receive(text, from: id, now: now))
        guard let inbox = inboxes[id], inbox.count > before else { return [:] }
        return inbox[inbox.count - 1]
    }

    func leave(_ id: String) throws {
        kept[id] = nil
        try take(room.disconnect(id, now: now))
    }

    /// Lets time pass, with all that it brings.
    func wait(_ milliseconds: Int64) throws {
        let end = now + milliseconds
        while let next = room.nextTick, next <= end {
            now = max(now, next)
            try take(room.tick(now: now))
        }
        now = end
    }

    func take(_ outputs: [RoomOutput]) throws {
        for output in outputs {
            switch output {
            case .send(let text, let recipients):
                let message = try JSONDecoder().decode([String: JSONValue].self, from: Data(text.utf8))
                let ids =
                    switch recipients {
                    case .one(let id): [id]
                    case .some(let ids): ids
                    case .all(let except): room.members.values.filter { $0.client != nil && $0.id != except }.map(\.id)
                    }
                for id in ids { inboxes[id, default: []].append(message) }
            case .close(let id, let code):
                closed[id] = code
                kept[id] = nil
            case .keep(let member): kept[member.id] = member
            case .notify(let notification): notifications.append(notification)
            }
        }
    }

    func told(_ id: String, _ type: String) -> [[String: JSONValue]] {
        inboxes[id, default: []].filter { $0["type"] == .string(type) }
    }
    func forget() { inboxes = [:] }
}

private func code(_ message: [String: JSONValue]) -> String? {
    guard case .string(let code)? = message["code"] else { return nil }
    return code
}

private func operation(_ sequence: Int, _ revision: Int, _ components: String) -> String {
    #"{"type":"operation","sequence":\#(sequence),"revision":\#(revision),"operation":\#(components)}"#
}

@Suite struct `A room's door` {
    @Test func `lets people in as their role or the room's access says`() throws {
        let scene = try Scene(access: .none)
        #expect(try scene.room.admit(user: owner, isAdmin: false, now: 0) == .owner)
        #expect(throws: RoomFailure.self) { try scene.room.admit(user: alice, isAdmin: false, now: 0) }
        #expect(try scene.room.admit(user: alice, isAdmin: true, now: 0) == .owner)
        scene.storage.save(Standing(role: .viewer), of: alice)
        #expect(try scene.room.admit(user: alice, isAdmin: false, now: 0) == .viewer)
        scene.storage.save(Standing(role: .viewer, kickedUntil: 500), of: alice)
        #expect { try scene.room.admit(user: alice, isAdmin: false, now: 499) } throws: { error in
            (error as? RoomFailure)?.code == "kicked" && (error as? RoomFailure)?.retryAfter == 1
        }
        #expect(try scene.room.admit(user: alice, isAdmin: false, now: 500) == .viewer)
    }

    @Test func `is closed when the room is full`() throws {
        var limits = RoomLimits()
        limits.membersMax = 2
        let scene = try Scene(limits: limits)
        try scene.connect("m1", owner)
        try scene.join("m2", alice)
        #expect { try scene.connect("m3", bob) } throws: { ($0 as? RoomFailure)?.code == "room_full" }
        try scene.leave("m1")
        try scene.connect("m3", bob)
    }

    @Test func `does not exist without a room`() {
        #expect(throws: RoomMissing()) { try Room(MemoryRoomStorage()) }
    }

    @Test func `creates a room once`() throws {
        let scene = try Scene()
        let other = RoomSettings(id: "room-1", name: "Other", access: .none, createdBy: alice, createdAt: 9)
        #expect(try Room.create(other, in: scene.storage).name == "Plan")
        #expect(try scene.room.admit(user: alice, isAdmin: false, now: 0) == .editor)
    }

    @Test func `tells who joins everything`() throws {
        let scene = try Scene()
        try scene.join("m1", owner)
        try scene.send("m1", operation(1, 0, #"["hello"]"#))
        try scene.send("m1", #"{"type":"chat","id":"chat-0001","text":"hi"}"#)
        let joined = try scene.join("m2", alice)
        #expect(joined["type"] == .string("joined") && joined["version"] == .integer(1))
        #expect(joined["text"] == .string("hello") && joined["revision"] == .integer(1))
        #expect(joined["memberCount"] == .integer(2) && joined["acknowledged"] == nil && joined["steps"] == nil)
        guard case .array(let members)? = joined["members"], case .object(let chat)? = joined["chat"],
            case .array(let messages)? = chat["messages"]
        else { throw PeerError(text: "\(joined)") }
        #expect(members.count == 2 && messages.count == 1 && chat["hasMore"] == .bool(false))
    }

    @Test func `must be passed first, in time, and once`() throws {
        let scene = try Scene()
        try scene.connect("m1", alice)
        #expect(code(try scene.send("m1", operation(1, 0, #"["x"]"#))) == "not_joined")
        #expect(try scene.send("m1", #"{"type":"ping"}"#)["type"] == .string("pong"))
        #expect(code(try scene.send("m1", #"{"type":"join","client":"short"}"#)) == "invalid")
        #expect(code(try scene.send("m1", #"{"type":"join","client":"with a space"}"#)) == "invalid")
        #expect(try scene.send("m1", #"{"type":"join","client":"client-1"}"#)["type"] == .string("joined"))
        #expect(code(try scene.send("m1", #"{"type":"join","client":"client-1"}"#)) == "invalid")
        try scene.connect("m2", bob)
        try scene.wait(29_999)
        #expect(scene.closed.isEmpty)
        try scene.wait(1)
        #expect(scene.closed == ["m2": .joinTimedOut])
    }

    @Test func `replaces a connection that its client has given up`() throws {
        let scene = try Scene()
        try scene.join("m1", alice, client: "client-a")
        try scene.join("m2", bob, client: "client-a")
        #expect(scene.closed.isEmpty, "another person's client of that name is another client")
        try scene.join("m3", alice, client: "client-a", revision: 0)
        #expect(scene.closed == ["m1": .replaced])
        // What was on its way over the old one is nobody's.
        #expect(try scene.room.receive(operation(1, 0, #"["x"]"#), from: "m1", now: scene.now) == [])
        #expect(scene.room.history.revision == 0)
    }

    @Test(arguments: [
        ("", "malformed_message"), ("[]", "malformed_message"), ("{}", "malformed_message"), ("nonsense", "malformed_message"),
        (#"{"type":"dance"}"#, "unknown_type"), (#"{"type":7}"#, "malformed_message"),
        (#"{"type":"operation","sequence":1,"revision":0}"#, "malformed_message"),
        (#"{"type":"operation","sequence":1,"revision":0,"operation":[0]}"#, "malformed_message"),
        (#"{"type":"operation","sequence":1,"revision":0,"operation":"x"}"#, "malformed_message"),
        (#"{"type":"presence","state":"asleep"}"#, "malformed_message"),
        (#"{"type":"chat","id":"chat-0001","text":"\ud800"}"#, "malformed_message"),
        (#"{"type":"chat","id":"x","text":"hi"}"#, "invalid"),
        (#"{"type":"chat","id":"chat-0001","text":" \n "}"#, "invalid"),
        (#"{"type":"chat","id":"chat-0001","text":"\u0007"}"#, "invalid"),
        (#"{"type":"history","limit":0}"#, "invalid"), (#"{"type":"history","limit":101}"#, "invalid"),
        (#"{"type":"members","limit":101}"#, "invalid"), (#"{"type":"grant","user":"x","role":"viewer"}"#, "invalid"),
        (#"{"type":"grant","user":"\#(alice)","role":"god"}"#, "malformed_message"),
        (#"{"type":"kick","user":"\#(alice)","seconds":-1}"#, "invalid"),
        (#"{"type":"configure","access":"owner"}"#, "invalid"), (#"{"type":"configure","name":""}"#, "invalid"),
        (#"{"type":"subscribe","topics":[""]}"#, "invalid"), (#"{"type":"subscribe","topics":["a b"]}"#, "invalid"),
        (#"{"type":"cursor","revision":0,"anchor":1}"#, "invalid"), (#"{"type":"cursor","revision":0,"anchor":-1}"#, "invalid"),
    ]) func `answers what it can't take, and goes on`(_ message: String, _ expected: String) throws {
        let scene = try Scene()
        try scene.join("m1", owner)
        let answer = try scene.send("m1", message)
        #expect(answer["type"] == .string("error") && code(answer) == expected)
        #expect(try scene.send("m1", #"{"type":"ping"}"#)["type"] == .string("pong"))
    }

    @Test func `ends connections that send too much`() throws {
        var limits = RoomLimits()
        limits.messageByteCountMax = 100
        limits.messages = RateLimit(perSecond: 1, burst: 2)
        limits.excessMax = 3
        let scene = try Scene(limits: limits)
        try scene.connect("m1", alice)
        try scene.send("m1", String(repeating: "x", count: 101))
        #expect(scene.closed == ["m1": .tooLarge])
        try scene.connect("m2", alice)
        try scene.take(scene.room.receiveBytes(from: "m2", now: scene.now))
        #expect(scene.closed["m2"] == .unsupported)
        try scene.connect("m3", alice)
        for _ in 0..<2 { #expect(try scene.send("m3", #"{"type":"ping"}"#)["type"] == .string("pong")) }
        let refused = try scene.send("m3", #"{"type":"ping"}"#)
        #expect(code(refused) == "rate_limited" && refused["retryAfter"] == .integer(1000))
        try scene.wait(1000)
        #expect(try scene.send("m3", #"{"type":"ping"}"#)["type"] == .string("pong"))
        for _ in 0..<3 { try scene.send("m3", #"{"type":"ping"}"#) }
        #expect(scene.closed["m3"] == .tooFast)
    }
}

@Suite struct `A room's document` {
    @Test func `is acknowledged to the author and told to the others`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.join("m2", bob)
        scene.forget()
        let answer = try scene.send("m1", operation(1, 0, #"["abc"]"#))
        #expect(answer["type"] == .string("ack") && answer["revision"] == .integer(1) && answer["sequence"] == .integer(1))
        let event = try #require(scene.told("m2", "operation").first)
        #expect(
            event["revision"] == .integer(1) && event["operation"] == .array([.string("abc")])
                && event["member"] == .string("m1"))
        #expect(scene.told("m1", "operation").isEmpty)
        // Made without knowing of the first: brought on over it.
        try scene.send("m2", operation(1, 0, #"["x"]"#))
        #expect(scene.room.history.document.text == "abcx")
        #expect(scene.told("m1", "operation").last?["operation"] == .array([.integer(3), .string("x")]))
    }

    @Test func `takes an operation once, however often it comes`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        for _ in 0..<3 {
            let answer = try scene.send("m1", operation(1, 0, #"["abc"]"#))
            #expect(answer["type"] == .string("ack") && answer["revision"] == .integer(1))
        }
        try scene.send("m1", operation(2, 1, #"[3,"d"]"#))
        #expect(try scene.send("m1", operation(1, 0, #"["abc"]"#))["revision"] == nil)
        #expect(scene.room.history.document.text == "abcd")
        // Also after the object and the connection are new ones.
        try scene.reopen()
        let joined = try scene.join("m2", alice, client: "client-m1", revision: 1)
        #expect(joined["acknowledged"] == .integer(2))
        #expect(joined["steps"] == .array([.object(["revision": .integer(2), "acknowledges": .integer(2)])]))
        #expect(try scene.send("m2", operation(2, 1, #"[3,"d"]"#))["revision"] == .integer(2))
        #expect(scene.room.history.document.text == "abcd")
    }

    @Test(arguments: [
        (3, 2, "[3]", "out_of_sequence"), (2, 2, "[3]", "unknown_revision"), (2, -1, "[3]", "unknown_revision"),
        (2, 1, "[4]", "invalid_operation"), (2, 1, #"[1,"x",-1,5]"#, "invalid_operation"),
    ]) func `refuses what does not fit`(_ sequence: Int, _ revision: Int, _ components: String, _ expected: String) throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.send("m1", operation(1, 0, #"["a😀"]"#))
        let answer = try scene.send("m1", operation(sequence, revision, components))
        #expect(code(answer) == expected && answer["sequence"] == .integer(Int64(sequence)))
        #expect(scene.room.history.document.text == "a😀" && scene.room.history.revision == 1)
    }

    @Test func `has a limit`() throws {
        var limits = RoomLimits()
        limits.documentLengthMax = 4
        let scene = try Scene(limits: limits)
        try scene.join("m1", alice)
        #expect(code(try scene.send("m1", operation(1, 0, #"["abcde"]"#))) == "document_too_long")
        #expect(try scene.send("m1", operation(1, 0, #"["abcd"]"#))["type"] == .string("ack"))
    }

    @Test func `is edited by editors alone, as fast as the limit lets them`() throws {
        var limits = RoomLimits()
        limits.operations = RateLimit(perSecond: 1, burst: 1)
        let scene = try Scene(access: .commenter, limits: limits)
        try scene.join("m1", alice)
        let refused = try scene.send("m1", operation(1, 0, #"["x"]"#))
        #expect(code(refused) == "forbidden" && refused["request"] == .string("operation"))
        scene.storage.save(Standing(role: .editor), of: bob)
        try scene.join("m2", bob)
        try scene.send("m2", operation(1, 0, #"["x"]"#))
        let limited = try scene.send("m2", operation(2, 1, #"[1,"y"]"#))
        #expect(code(limited) == "rate_limited" && limited["sequence"] == .integer(2))
        try scene.wait(1000)
        #expect(try scene.send("m2", operation(2, 1, #"[1,"y"]"#))["type"] == .string("ack"))
    }

    @Test func `keeps a bounded log, and gives a snapshot to who comes from before it`() throws {
        var retention = DocumentRetention()
        (retention.entriesMax, retention.snapshotInterval) = (10, 5)
        let storage = MemoryRoomStorage()
        var history = try DocumentHistory(storage, retention: retention)
        for number in 1...52 {
            var operation = TextOperation(identity: history.document.length)
            operation.insert("\(number),")
            let submission = Submission(
                revision: history.revision, operation: operation, author: "a", client: "c", sequence: number)
            guard case .applied = try history.submit(submission, at: 0) else { throw PeerError(text: "refused") }
            #expect(storage.log.count <= 15)
        }
        #expect(history.oldestRevision == 40 && storage.snapshot().revision == 50)
        #expect(try history.catchUp(from: 39, author: "b", client: "d") == .snapshot)
        #expect(try history.catchUp(from: 53, author: "b", client: "d") == .snapshot)
        #expect(try history.catchUp(from: 52, author: "b", client: "d") == .steps([]))
        guard case .steps(let steps) = try history.catchUp(from: 40, author: "b", client: "d") else {
            throw PeerError(text: "no steps")
        }
        #expect(steps.count == 1 && steps[0].revision == 52)
        let opened = try DocumentHistory(storage, retention: retention)
        #expect(opened.document == history.document && opened.revision == 52 && opened.oldestRevision == 40)
    }

    @Test func `gives nothing out when it can't be kept`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        scene.forget()
        scene.storage.failure = PeerError(text: "disk full")
        #expect(throws: PeerError.self) { try scene.send("m1", operation(1, 0, #"["x"]"#)) }
        #expect(scene.told("m1", "ack").isEmpty)
        // The object is built anew from what is durable.
        try scene.reopen()
        #expect(scene.room.history.document.text == "")
        #expect(try scene.send("m1", operation(1, 0, #"["x"]"#))["type"] == .string("ack"))
    }

    @Test func `has cursors that move with it`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.join("m2", bob)
        try scene.send("m1", operation(1, 0, #"["hello"]"#))
        try scene.send("m1", #"{"type":"cursor","revision":1,"anchor":1,"head":4}"#)
        #expect(scene.told("m2", "cursors").isEmpty, "what moves often is told a moment later")
        try scene.send("m2", operation(1, 1, #"["> ",5]"#))
        try scene.wait(1000)
        let told = try #require(scene.told("m2", "cursors").last)
        #expect(told["revision"] == .integer(2))
        #expect(told["cursors"] == .array([.object(["member": .string("m1"), "anchor": .integer(3), "head": .integer(6)])]))
        // They outlive the object's memory, and go when their owner says so.
        try scene.reopen()
        let joined = try scene.join("m3", owner)
        guard case .array(let members)? = joined["members"] else { throw PeerError(text: "\(joined)") }
        #expect(
            members.contains { member in
                guard case .object(let fields) = member else { return false }
                return fields["cursor"] == .object(["anchor": .integer(3), "head": .integer(6)])
            })
        try scene.send("m1", #"{"type":"cursor","revision":2}"#)
        try scene.wait(1000)
        #expect(scene.told("m2", "cursors").last?["cursors"] == .array([.object(["member": .string("m1")])]))
    }
}

@Suite struct `A room's people` {
    @Test func `are told of each other, gathered`() throws {
        let scene = try Scene()
        try scene.join("m1", owner)
        try scene.wait(1000)
        scene.forget()
        try scene.join("m2", alice)
        try scene.join("m3", bob)
        try scene.send("m3", #"{"type":"presence","state":"away"}"#)
        try scene.wait(1000)
        #expect(scene.told("m1", "presence").count == 1)
        let told = try #require(scene.told("m1", "presence").first)
        #expect(told["count"] == .integer(3))
        guard case .array(let present)? = told["present"] else { throw PeerError(text: "\(told)") }
        #expect(present.count == 2)
        try scene.leave("m2")
        try scene.wait(1000)
        let left = try #require(scene.told("m1", "presence").last)
        #expect(left["left"] == .array([.string("m2")]) && left["count"] == .integer(2))
        #expect(scene.room.nextTick == nil, "nothing keeps the object in memory")
    }

    @Test func `are only counted in a large room, and can be paged`() throws {
        var limits = RoomLimits()
        limits.presenceDetailMax = 3
        let scene = try Scene(limits: limits)
        for index in 0..<6 {
            try scene.join("m\(index)", String(format: "00000000-0000-7000-8000-%012d", index))
            try scene.wait(10)
        }
        scene.forget()
        let joined = try scene.join("m6", bob)
        guard case .array(let members)? = joined["members"] else { throw PeerError(text: "\(joined)") }
        #expect(members.count == 3 && joined["memberCount"] == .integer(7))
        try scene.wait(3000)
        let told = try #require(scene.told("m1", "presence").last)
        #expect(told["count"] == .integer(7) && told["present"] == nil)
        var pages = 0
        var after = ""
        var seen: [JSONValue] = []
        while true {
            let page = try scene.send("m1", #"{"type":"members","limit":3,"after":"\#(after)"}"#)
            guard case .array(let members)? = page["members"] else { throw PeerError(text: "\(page)") }
            seen += members
            pages += 1
            guard case .string(let next)? = page["next"] else { break }
            after = next
        }
        #expect(pages == 3 && seen.count == 7)
    }

    @Test func `may be ten thousand, and each thing that happens is told once for all of them`() throws {
        var limits = RoomLimits()
        limits.presenceDetailMax = 1
        let storage = MemoryRoomStorage()
        _ = try Room.create(
            RoomSettings(id: "r", name: "Big", access: .editor, createdBy: owner, createdAt: 0), in: storage)
        let room = try Room(storage, limits: limits)
        for index in 0..<10_000 {
            _ = try room.connect("m\(index)", user: "u\(index)", name: "n", isAdmin: false, now: 0)
            let outputs = try room.receive(#"{"type":"join","client":"client-\#(index)"}"#, from: "m\(index)", now: 0)
            guard outputs.count == 2, case .send(let text, to: .one) = outputs[1] else { throw PeerError(text: "\(outputs)") }
            #expect(text.utf8.count < 1024)
        }
        let told = try room.tick(now: 10_000)
        guard told.count == 1, case .send(let text, to: .all(except: nil)) = told[0] else { throw PeerError(text: "\(told)") }
        #expect(text == #"{"count":10000,"type":"presence"}"#)
        let outputs = try room.receive(operation(1, 0, #"["x"]"#), from: "m7", now: 10_000)
        #expect(outputs.count == 2)
        guard case .send(_, to: .all(except: "m7")) = outputs[1] else { throw PeerError(text: "\(outputs)") }
    }

    @Test func `see who types, until they stop or a while passes`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.join("m2", bob)
        try scene.wait(1000)
        func typing() -> [JSONValue] {
            guard case .array(let people)? = scene.told("m2", "typing").last?["people"] else { return [] }
            return people
        }
        try scene.send("m1", #"{"type":"typing","active":true}"#)
        try scene.wait(1000)
        #expect(typing().count == 1)
        try scene.wait(7000)
        #expect(typing().isEmpty)
        try scene.send("m1", #"{"type":"typing","active":true}"#)
        try scene.wait(500)
        try scene.send("m1", #"{"type":"chat","id":"chat-0001","text":"done"}"#)
        try scene.wait(1000)
        #expect(typing().isEmpty && scene.told("m2", "typing").count == 4)
    }

    @Test func `get roles from owners`() throws {
        let scene = try Scene(access: .viewer)
        try scene.join("m1", owner)
        try scene.join("m2", alice)
        #expect(code(try scene.send("m2", #"{"type":"grant","user":"\#(bob)","role":"editor"}"#)) == "forbidden")
        #expect(code(try scene.send("m2", #"{"type":"chat","id":"chat-0001","text":"hi"}"#)) == "forbidden")
        let report = try scene.send("m1", #"{"type":"grant","user":"\#(alice)","role":"editor"}"#)
        #expect(report["type"] == .string("standing") && report["role"] == .string("editor"))
        #expect(scene.told("m2", "role").last?["role"] == .string("editor"))
        #expect(scene.notifications.map(\.kind) == ["room.role_changed"] && scene.notifications[0].user == alice)
        #expect(try scene.send("m2", operation(1, 0, #"["x"]"#))["type"] == .string("ack"))
        #expect(code(try scene.send("m1", #"{"type":"grant","user":"\#(owner)","role":"viewer"}"#)) == "forbidden")
        // Back to what the room gives to all.
        try scene.send("m1", #"{"type":"grant","user":"\#(alice)"}"#)
        #expect(code(try scene.send("m2", operation(2, 1, #"["x",1]"#))) == "forbidden")
        try scene.send("m1", #"{"type":"grant","user":"\#(alice)","role":"none"}"#)
        #expect(scene.closed["m2"] == .removed)
        #expect(throws: RoomFailure.self) { try scene.connect("m3", alice) }
    }

    @Test func `follow the room's access when it changes`() throws {
        let scene = try Scene(access: .editor)
        try scene.join("m1", owner)
        try scene.join("m2", alice)
        try scene.join("m3", bob)
        scene.storage.save(Standing(role: .viewer), of: bob)
        try scene.send("m1", #"{"type":"configure","name":"Other","access":"commenter"}"#)
        guard case .object(let room)? = scene.told("m3", "room").last?["room"] else { throw PeerError(text: "no room") }
        #expect(room["name"] == .string("Other"))
        #expect(scene.told("m2", "role").last?["role"] == .string("commenter"))
        try scene.send("m1", #"{"type":"configure","access":"none"}"#)
        #expect(scene.closed == ["m2": .removed], "a role of one's own stays")
        try scene.reopen()
        #expect(scene.room.settings.name == "Other" && scene.room.settings.access == .none)
    }

    @Test func `can be removed for a while, but not owners`() throws {
        let scene = try Scene()
        try scene.join("m1", owner)
        try scene.join("m2", alice)
        #expect(code(try scene.send("m2", #"{"type":"kick","user":"\#(bob)"}"#)) == "forbidden")
        #expect(code(try scene.send("m1", #"{"type":"kick","user":"\#(owner)"}"#)) == "forbidden")
        try scene.send("m1", #"{"type":"kick","user":"\#(alice)","seconds":10}"#)
        #expect(scene.closed["m2"] == .removed)
        #expect { try scene.connect("m3", alice) } throws: { ($0 as? RoomFailure)?.code == "kicked" }
        try scene.wait(10_000)
        try scene.join("m3", alice)
        try scene.send("m1", #"{"type":"kick","user":"\#(alice)","seconds":10}"#)
        try scene.send("m1", #"{"type":"kick","user":"\#(alice)","seconds":0}"#)
        try scene.join("m4", alice)
    }

    @Test func `leave when their login ends`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.take(scene.room.connect("m2", user: bob, name: "b", session: "s1", isAdmin: false, now: scene.now))
        try scene.take(scene.room.expel(sessions: ["s1", "s2"], now: scene.now))
        #expect(scene.closed == ["m2": .sessionEnded])
        #expect(scene.room.members.keys.sorted() == ["m1"])
    }

    @Test func `can be muted`() throws {
        let scene = try Scene()
        try scene.join("m1", owner)
        try scene.join("m2", alice)
        try scene.send("m1", #"{"type":"mute","user":"\#(alice)","seconds":60}"#)
        #expect(scene.told("m2", "muted").last?["until"] == .integer(scene.now + 60_000))
        let refused = try scene.send("m2", #"{"type":"chat","id":"chat-0001","text":"hi"}"#)
        #expect(code(refused) == "muted" && refused["retryAfter"] == .integer(60_000) && refused["id"] == .string("chat-0001"))
        #expect(try scene.send("m2", operation(1, 0, #"["x"]"#))["type"] == .string("ack"), "the document is another matter")
        #expect(try scene.join("m3", alice)["mutedUntil"] == .integer(scene.now + 60_000))
        try scene.wait(60_000)
        #expect(try scene.send("m2", #"{"type":"chat","id":"chat-0001","text":"hi"}"#)["type"] == .string("chat"))
    }
}

@Suite struct `A room's conversation` {
    @Test func `reaches all, once, and is kept in pages`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.join("m2", bob)
        for number in 1...9 {
            for _ in 0..<(number == 5 ? 2 : 1) {
                let answer = try scene.send("m1", #"{"type":"chat","id":"chat-000\#(number)","text":"message \#(number)"}"#)
                guard case .object(let message)? = answer["message"] else { throw PeerError(text: "\(answer)") }
                #expect(message["number"] == .integer(Int64(number)))
            }
            try scene.wait(1000)
        }
        #expect(scene.told("m2", "chat").count == 9)
        let page = try scene.send("m2", #"{"type":"history","limit":4}"#)
        guard case .array(let newest)? = page["messages"], case .object(let first)? = newest.first else {
            throw PeerError(text: "\(page)")
        }
        #expect(newest.count == 4 && first["text"] == .string("message 6") && page["hasMore"] == .bool(true))
        let older = try scene.send("m2", #"{"type":"history","limit":5,"before":6}"#)
        guard case .array(let messages)? = older["messages"] else { throw PeerError(text: "\(older)") }
        #expect(messages.count == 5 && older["hasMore"] == .bool(false))
    }

    @Test func `is limited in length and rate`() throws {
        var limits = RoomLimits()
        limits.chatLengthMax = 3
        limits.chat = RateLimit(perSecond: 0.5, burst: 2)
        let scene = try Scene(limits: limits)
        try scene.join("m1", alice)
        #expect(code(try scene.send("m1", #"{"type":"chat","id":"chat-0001","text":"1234"}"#)) == "invalid")
        #expect(try scene.send("m1", #"{"type":"chat","id":"chat-0001","text":"👩‍👩"}"#)["type"] == .string("chat"))
        #expect(try scene.send("m1", #"{"type":"chat","id":"chat-0002","text":"2"}"#)["type"] == .string("chat"))
        #expect(code(try scene.send("m1", #"{"type":"chat","id":"chat-0003","text":"3"}"#)) == "rate_limited")
        try scene.wait(2000)
        #expect(try scene.send("m1", #"{"type":"chat","id":"chat-0003","text":"3"}"#)["type"] == .string("chat"))
    }

    @Test func `notifies who is mentioned`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.join("m2", bob)
        try scene.leave("m2")
        try scene.send("m1", #"{"type":"chat","id":"chat-0001","text":"@name-b. and @name-b, @nobody, @name-a, me@name-b"}"#)
        #expect(scene.notifications.map(\.user) == [bob])
        #expect(scene.notifications[0].kind == "room.mentioned" && scene.notifications[0].data["by"] == "name-a")
        try scene.send("m1", #"{"type":"chat","id":"chat-0001","text":"@name-b. and"}"#)
        #expect(scene.notifications.count == 1, "the same message says it once")
        scene.storage.save(Standing(role: RoomRole.none), of: bob)
        try scene.send("m1", #"{"type":"chat","id":"chat-0002","text":"@name-b"}"#)
        #expect(scene.notifications.count == 1, "who was shut out reads nothing of it")
    }

    @Test(arguments: [
        ("@alice", ["alice"]), ("hi @alice, @bob!", ["alice", "bob"]), ("a@alice.example", []), ("@al", []),
        ("@@alice", ["alice"]), ("(@alice)", ["alice"]), ("@alice.", ["alice"]), ("@ali-ce", ["ali-ce"]), ("é@alice", []),
        ("@alice @alice", ["alice"]), ("@" + String(repeating: "x", count: 33), []),
    ]) func `finds names`(_ text: String, _ names: [String]) {
        #expect(ChatMentions.names(in: text) == names)
    }
}

@Suite struct `A room's topics` {
    @Test func `go to who subscribes, beginning with what is known`() throws {
        let scene = try Scene()
        try scene.join("m1", alice)
        try scene.join("m2", bob)
        try scene.send("m1", #"{"type":"publish","topic":"campaign:7","data":{"views":1}}"#)
        #expect(scene.told("m2", "topic").isEmpty)
        try scene.send("m2", #"{"type":"subscribe","topics":["campaign:7","campaign:8"]}"#)
        let known = try #require(scene.told("m2", "topic").first)
        #expect(known["version"] == .integer(1) && known["data"] == .object(["views": .integer(1)]))
        try scene.reopen()
        try scene.take(scene.room.publish(.object(["views": .number(2.5)]), topic: "campaign:7", now: scene.now))
        #expect(scene.told("m2", "topic").last?["version"] == .integer(2))
        try scene.send("m2", #"{"type":"unsubscribe","topics":["campaign:7"]}"#)
        try scene.take(scene.room.publish(.null, topic: "campaign:7", now: scene.now))
        #expect(scene.told("m2", "topic").count == 2)
    }

    @Test func `are bounded`() throws {
        var limits = RoomLimits()
        (limits.topicsMax, limits.subscriptionsMax, limits.topicByteCountMax) = (1, 1, 10)
        let scene = try Scene(access: .commenter, limits: limits)
        try scene.join("m1", owner)
        try scene.join("m2", bob)
        #expect(code(try scene.send("m2", #"{"type":"publish","topic":"a","data":1}"#)) == "forbidden")
        #expect(code(try scene.send("m1", #"{"type":"publish","topic":"a","data":"12345678901"}"#)) == "invalid")
        try scene.send("m1", #"{"type":"publish","topic":"a","data":1}"#)
        #expect(code(try scene.send("m1", #"{"type":"publish","topic":"b","data":1}"#)) == "invalid")
        #expect(code(try scene.send("m1", #"{"type":"subscribe","topics":["a","b"]}"#)) == "invalid")
    }
}
