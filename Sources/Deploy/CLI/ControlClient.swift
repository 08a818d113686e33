internal import Glibc
internal import HTTP
internal import Host
internal import System

/// Asks a node something over its control listener: one request, one connection.
struct ControlClient {
    let address: ListenAddress

    /// - Parameter url: `http://host:port` as the ready line has it.
    init?(_ url: String) {
        guard url.hasPrefix("http://"), let address = ListenAddress(String(url.dropFirst(7).prefix { $0 != "/" })) else {
            return nil
        }
        self.address = address
    }

    struct Answer {
        var status: Int
        var body: String
    }

    func get(_ target: String) throws(SystemError) -> Answer { try send("GET", target) }

    /// - Parameter token: For the API; told in no other place.
    func send(_ method: String, _ target: String, token: String? = nil, json: [UInt8]? = nil) throws(SystemError) -> Answer {
        let socket = try address.connect()
        var head = "\(method) \(target) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n"
        if let token { head += "Authorization: Bearer \(token)\r\n" }
        if let json { head += "Content-Type: application/json\r\nContent-Length: \(json.count)\r\n" }
        try socket.writeAll(Array((head + "\r\n").utf8) + (json ?? []), on: "\(address)")
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let number = socket.rawValue
            // SAFETY: read fills at most the array it is lent.
            let count = unsafe read(number, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError("read", errno: errno, on: "\(address)") }
            if count == 0 { break }
            bytes += piece[..<count]
            guard bytes.count <= 16 << 20 else { throw SystemError("read", errno: EMSGSIZE, on: "\(address)") }
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let status = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        let body = text.firstRange(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
        return Answer(status: status, body: body)
    }
}
