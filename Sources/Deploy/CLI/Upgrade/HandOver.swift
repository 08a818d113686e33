internal import Glibc
internal import Host
internal import Releases
internal import System

// How one process of a node hands over to the next, over a pair of sockets that the first one makes. Each record is a text whose
// first line is its kind.
//
//     new → old   hello        protocol, version and the format of the state directory that it writes
//     old → new   listeners    the number of the upgrade; a line for each descriptor: role, asked and bound address
//     new → old   prepared     all is done that needs no state
//     old → new   connections  parked ones: a memory file with their bytes, then their sockets; any number of records
//     old → new   sockets      of hibernating WebSockets, and the objects that they belong to: a memory file with what there is
//                              to know, then the sockets; any number of records
//     old → new   released     the stores are closed, the state directory is free
//     new → old   serving      the stores are open, the releases run
//     old → new   go           nothing begins at the old one any more; for how many milliseconds requests have waited
//     new → old   accepted     from here on the new one is the node
//     old → new   connections  those that had a request until now; then the old one ends
//
// Until `accepted` has come, the end of the new one, whatever its reason, leaves all at the old one.

enum HandOver {
    /// Counts up with each change of the above.
    static let protocolVersion = 2
    /// Names the descriptor of the new process' end.
    static let variable = "EDGE_UPGRADE_SOCKET"
    /// The process that waits for the node, because whoever started it does so: its pid.
    static let followerVariable = "EDGE_FOLLOWER"

    static func name(_ role: LocalRequest.Listener) -> String {
        switch role {
        case .edge: "edge"
        case .control: "control"
        case .s3: "s3"
        }
    }

    static func role(_ name: some StringProtocol) -> LocalRequest.Listener? {
        switch name {
        case "edge": .edge
        case "control": .control
        case "s3": .s3
        default: nil
        }
    }

    static func send(_ listeners: [InheritedListener], upgrade number: Int64, over socket: RecordSocket) throws(SystemError) {
        var rest = listeners[...]
        repeat {
            let some = rest.prefix(100)
            rest = rest.dropFirst(100)
            let lines = some.map { "\(name($0.role)) \($0.asked) \($0.bound)" }
            let head = "listeners \(number) \(rest.isEmpty ? "all" : "more")"
            try socket.send(([head] + lines).joined(separator: "\n"), some.map(\.descriptor))
        } while !rest.isEmpty
    }

    static func readListeners(_ record: RecordSocket.Record) -> (number: Int64, isAll: Bool, [InheritedListener])? {
        let lines = record.text.split(separator: "\n")
        let head = lines.first.map { $0.split(separator: " ") } ?? []
        guard head.count == 3, head[0] == "listeners", let number = Int64(head[1]),
            lines.count - 1 == record.descriptors.count
        else { return nil }
        var listeners: [InheritedListener] = []
        for (line, descriptor) in zip(lines.dropFirst(), record.descriptors) {
            let words = line.split(separator: " ")
            guard words.count == 3, let role = role(words[0]), let asked = Host.ListenAddress(String(words[1])),
                let bound = Host.ListenAddress(String(words[2]))
            else { return nil }
            listeners.append(InheritedListener(role: role, asked: asked, bound: bound, descriptor: descriptor))
        }
        return (number, head[2] == "all", listeners)
    }

    static func send(_ connections: [ParkedConnection], over socket: RecordSocket) throws(SystemError) {
        var rest = connections[...]
        while !rest.isEmpty {
            let some = rest.prefix(RecordSocket.descriptorsMax - 1)
            rest = rest.dropFirst(some.count)
            let file = try MemoryFile(some.flatMap(\.bytes))
            let lines = some.map { "\(name($0.role)) \($0.redirectPort ?? 0) \($0.bytes.count)" }
            try socket.send((["connections"] + lines).joined(separator: "\n"), [file.rawValue] + some.map(\.descriptor))
        }
    }

    static func readConnections(_ record: RecordSocket.Record) throws(SystemError) -> [ParkedConnection] {
        let lines = record.text.split(separator: "\n").dropFirst()
        guard let file = record.descriptors.first, lines.count == record.descriptors.count - 1 else {
            throw SystemError("recvmsg", errno: EPROTO)
        }
        let memory = Descriptor(owning: file)
        var offset: Int64 = 0
        var connections: [ParkedConnection] = []
        for (line, descriptor) in zip(lines, record.descriptors.dropFirst()) {
            let words = line.split(separator: " ")
            guard words.count == 3, let role = role(words[0]), let port = UInt16(words[1]), let count = Int(words[2]) else {
                throw SystemError("recvmsg", errno: EPROTO)
            }
            let bytes = try memory.read(at: offset, count: count)
            offset += Int64(count)
            connections.append(
                ParkedConnection(role: role, redirectPort: port == 0 ? nil : port, bytes: bytes, descriptor: descriptor))
        }
        return connections
    }

    static func send(_ legacies: [SocketLegacy], over socket: RecordSocket) throws(SystemError) {
        var rest = legacies[...]
        while !rest.isEmpty {
            var some = rest.prefix(RecordSocket.descriptorsMax - 1)
            // One of them may have a long message that has come in part.
            var byteCount = 0
            some = some.prefix { item in
                defer { byteCount += item.record.count }
                return byteCount < memoryFileBytesMax
            }
            rest = rest.dropFirst(some.count)
            let file = try MemoryFile(some.flatMap(\.record))
            let lines = some.map { "\($0.descriptor == nil ? 0 : 1) \($0.record.count) \($0.tenant)" }
            try socket.send((["sockets"] + lines).joined(separator: "\n"), [file.rawValue] + some.compactMap(\.descriptor))
        }
    }

    /// What the records of one memory file have, and one more record.
    private static let memoryFileBytesMax = 16 << 20

    static func readSockets(_ record: RecordSocket.Record) throws(SystemError) -> [SocketLegacy] {
        guard let file = record.descriptors.first else { throw SystemError("recvmsg", errno: EPROTO) }
        let memory = Descriptor(owning: file)
        var descriptors = record.descriptors.dropFirst()
        var offset: Int64 = 0
        var legacies: [SocketLegacy] = []
        for line in record.text.split(separator: "\n").dropFirst() {
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, let count = Int(words[1]) else { throw SystemError("recvmsg", errno: EPROTO) }
            let descriptor = words[0] == "1" ? descriptors.popFirst() : nil
            guard words[0] == "0" || descriptor != nil else { throw SystemError("recvmsg", errno: EPROTO) }
            let bytes = try memory.read(at: offset, count: count)
            offset += Int64(count)
            legacies.append(SocketLegacy(tenant: String(words[2]), record: bytes, descriptor: descriptor))
        }
        guard descriptors.isEmpty else { throw SystemError("recvmsg", errno: EPROTO) }
        return legacies
    }

    /// Blocks a thread of its own, not one of those that run tasks.
    static func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> Value
    ) async throws(SystemError) -> Value {
        let result: Result<Value, SystemError> = await withCheckedContinuation { continuation in
            SystemThread(name: "edge-upgrade") {
                do throws(SystemError) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }.start()
        }
        return try result.get()
    }
}
