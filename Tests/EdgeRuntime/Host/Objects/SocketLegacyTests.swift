import Interfaces
import Testing
import Wire

@testable import Host

@Suite struct `What a process leaves of WebSockets` {
    private static func id() throws -> ObjectID { try #require(ObjectID([UInt8](0..<32))) }

    private static func socket() throws -> ParkedObjectSocket {
        ParkedObjectSocket(
            object: try id(),
            state: ObjectSocketState(
                id: SocketID(reactor: 3, number: 9), tags: ["a", "ü"], attachment: [1, 2], autoResponseTime: 77),
            connection: ParkedObjectSocket.Connection(
                isClosing: true, windowBits: 12, input: [0x81], output: [UInt8](repeating: 5, count: 1000)),
            frames: [0x81, 1, 65], isInMessage: true, close: SocketClose(code: nil, reason: "bye"), lastWord: nil)
    }

    @Test func `is read as it was written`() throws {
        let object = ParkedObject(
            id: try Self.id(),
            namespace: ParkedObject.Namespace(id: "n", key: [7], worker: "w", className: "C", hasSQL: true), name: "lobby",
            autoResponse: SocketAutoResponse(request: "ping", response: "pong"), eventTimeout: 500)
        var gone = try Self.socket()
        gone.connection = nil
        gone.close = nil
        gone.lastWord = .close(.disconnected)
        for record in [.object(object), .socket(try Self.socket()), .socket(gone)] as [ParkedRecord] {
            #expect(try ParkedRecord(record.bytes) == record)
        }
    }

    @Test func `is refused where something is missing or too much`() throws {
        let bytes = ParkedRecord.socket(try Self.socket()).bytes
        for count in 0..<bytes.count {
            #expect(throws: WireError.self, "\(count) bytes") { try ParkedRecord(Array(bytes.prefix(count))) }
        }
        #expect(throws: WireError.self) { try ParkedRecord(bytes + [0]) }
        #expect(throws: WireError.self) { try ParkedRecord([3]) }
    }

    @Test func `is known before its object is opened, the newest socket first`() throws {
        let node = try FakeNode()
        defer { node.stop() }
        let space = try node.makeObjectSpace(ObjectSettings(), directory: "/nonexistent") { MemoryAlarmIndex() }
        let object = ParkedObject(
            id: try Self.id(),
            namespace: ParkedObject.Namespace(id: "n", key: [7], worker: "w", className: "C", hasSQL: true), name: "lobby",
            autoResponse: SocketAutoResponse(request: "ping", response: "pong"), eventTimeout: nil)
        var (first, second) = (try Self.socket(), try Self.socket())
        first.connection = nil
        second.connection = nil
        second.state.tags = ["second"]
        func legacy(_ record: ParkedRecord) -> SocketLegacy {
            SocketLegacy(tenant: "t", record: record.bytes, descriptor: nil)
        }
        try space.inherit([legacy(.object(object)), legacy(.socket(first)), legacy(.socket(second))], numbersFrom: 5)
        let known = space.socketStates(of: object.id)
        #expect(known.sockets.map(\.tags) == [["second"], ["a", "ü"]])
        #expect(known.sockets.first?.attachment == [1, 2])
        #expect(Set(known.sockets.map(\.id)).count == 2)
        #expect(known.autoResponse == object.autoResponse)
        #expect(space.name(of: object.id) == "lobby")
    }

    @Test func `is refused without its object`() throws {
        let node = try FakeNode()
        defer { node.stop() }
        let space = try node.makeObjectSpace(ObjectSettings(), directory: "/nonexistent") { MemoryAlarmIndex() }
        let alone = SocketLegacy(tenant: "t", record: ParkedRecord.socket(try Self.socket()).bytes, descriptor: nil)
        #expect(throws: SocketLegacyError.self) { try space.inherit([alone], numbersFrom: 0) }
    }
}
