import Collaboration
import Foundation

/// The browser's modules under node, spoken to over pipes.
final class BrowserPeers {
    struct Answer: Decodable {
        var result: JSONValue?
        var text: String?
        var hasUnsaved: Bool?
        var error: String?
    }

    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var buffer: [UInt8] = []

    init() throws {
        let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let assets = here.appendingPathComponent("../../../Sources/Handlers/WebSocketService/Assets/realtime")
            .standardizedFileURL
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["node", "--no-warnings", here.appendingPathComponent("peers.mjs").path, assets.path]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
    }

    deinit {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// - Parameter command: A JSON object.
    func ask(_ command: String) throws -> Answer {
        try input.fileHandleForWriting.write(contentsOf: Data((command + "\n").utf8))
        while true {
            if let end = buffer.firstIndex(of: 0x0A) {
                let answer = try JSONDecoder().decode(Answer.self, from: Data(buffer[..<end]))
                buffer.removeSubrange(...end)
                if let error = answer.error { throw PeerError(text: error + " after " + command) }
                return answer
            }
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { throw PeerError(text: "node has ended, after " + command) }
            buffer += more
        }
    }

    static func json(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }
}

/// One client of the browser's.
final class BrowserPeer: Peer {
    private let peers: BrowserPeers
    private let number: Int
    private(set) var text = ""
    private(set) var hasUnsaved = false

    init(_ peers: BrowserPeers, number: Int, client: String) throws {
        self.peers = peers
        self.number = number
        try ask("open", #","client":"\#(client)""#)
    }

    @discardableResult
    private func ask(_ name: String, _ rest: String = "") throws -> JSONValue? {
        let answer = try peers.ask(#"{"do":"\#(name)","peer":\#(number)\#(rest)}"#)
        text = answer.text ?? ""
        hasUnsaved = answer.hasUnsaved ?? false
        return answer.result
    }

    func join() throws -> String { try BrowserPeers.json(try ask("join")) }
    func edit(_ operation: TextOperation) throws { try ask("edit", #","operation":\#(try BrowserPeers.json(operation))"#) }
    func type(_ text: String, caret: Int) throws {
        try ask("type", #","text":\#(try BrowserPeers.json(text)),"caret":\#(caret)"#)
    }
    func undo() throws { try ask("undo") }
    func redo() throws { try ask("redo") }
    func disconnect() throws { try ask("disconnect") }
    func reload() throws { try ask("reload") }

    func take() throws -> String? {
        guard let message = try ask("take"), message != .null else { return nil }
        return try BrowserPeers.json(message)
    }

    func receive(_ message: String) throws -> Bool {
        guard case .object(let result) = try ask("receive", #","message":\#(message)"#) else { return true }
        if let lost = result["lost"], lost != .null { throw PeerError(text: "changes were given up") }
        return result["fits"] != .bool(false)
    }
}
