internal import ControlPlane
internal import HTTP
internal import System

/// Requests of a file, a line of JSON each: `{"method", "url", "headers", "body"}`; `body` is text, and may be left out.
struct Recording {
    struct Request: Sendable {
        let method: String
        let host: String
        let target: String
        let headers: [(name: String, value: String)]
        let body: [UInt8]?

        /// RFC 9110 §9.2.1.
        var isSafe: Bool { ["GET", "HEAD", "OPTIONS"].contains(method) }
    }

    let requests: [Request]
    private static let bytesMax = 256 << 20

    init(path: String) throws {
        guard let status = FileTree.status(path) else { throw APIFailure("\(path): there is no such file") }
        guard status.byteCount <= Self.bytesMax else {
            throw APIFailure("\(path) has \(HumanText.bytes(Int64(status.byteCount))); a recording has 256 MiB at most")
        }
        var requests: [Request] = []
        let bytes = try FileTree.read(path)
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            guard line.contains(where: { $0 != 0x20 && $0 != 0x0D }) else { continue }
            guard let request = Self.request(Array(line)) else {
                throw APIFailure("\(path):\(index + 1): expected {\"method\": …, \"url\": \"http…\", \"headers\": {…}}")
            }
            requests.append(request)
        }
        self.requests = requests
    }

    private static func request(_ line: [UInt8]) -> Request? {
        guard let json = JSON(line), let text = json["url"]?.text, let url = WebURL(text), !url.host.isEmpty,
            url.scheme == "http" || url.scheme == "https"
        else { return nil }
        let method = json["method"]?.text ?? "GET"
        guard !method.isEmpty, method.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) else { return nil }
        let headers = (json["headers"]?.members ?? []).compactMap { header in
            header.value.text.map { (name: header.name.lowercased(), value: $0) }
        }
        let scheme = text.firstRange(of: "://")
        let rest = scheme.map { text[$0.upperBound...] } ?? ""
        let target = rest.firstIndex(of: "/").map { String(rest[$0...].prefix { $0 != "#" }) } ?? "/"
        return Request(
            method: method, host: url.host, target: target, headers: headers, body: json["body"]?.text.map { Array($0.utf8) })
    }
}

/// `edge record`: what clients ask for, for a rehearsal to repeat.
enum RecordCommand: Command {
    static let name = "record"
    static let summary = "Writes the safe requests that clients send to a file, for edge rehearse"
    static let discussion = """
        GET, HEAD and OPTIONS that reach a worker, a line of JSON each; what files or the cache answer isn't seen. Headers that
        authenticate are left out, unless --with-credentials asks for them: who has the file then has the sessions of those clients.
        Ctrl-C ends it, and keeps what there is.

        example: edge record requests.jsonl --max 500 --for 5m --environment staging
        """
    static let operands = [Operand.one("FILE", .files)]
    static let options: [Option] =
        [
            DeployCommand.environment, .value("max", "N", "ends after so many (1000)"),
            .value("for", "DURATION", "ends after so long"),
            .flag("with-credentials", "with headers that authenticate, too"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let path = try arguments.required("FILE")
        let most = try arguments.integer("max", 1...1_000_000) ?? 1000
        let client = try APIClient(arguments)
        let account = try await client.account()
        let answer = try await client.stream(
            "GET", "\(account)/edge/requests",
            query: [("max", "\(most)"), ("credentials", arguments.has("with-credentials") ? "true" : nil)])
        let output = try OutputFile(path)
        Interrupts.start { _ in Edge.complain("") }
        let clock = client.node.clock
        let deadline = try arguments.duration("for").map { clock.now() + $0 }
        Edge.complain("recording; Ctrl-C ends it")
        var count = 0
        // The node sends a line end at least every five seconds.
        while Interrupts.count == 0, deadline.map({ clock.now() < $0 }) ?? true, let piece = try await answer.next() {
            guard piece != [0x0A] else { continue }
            try output.write(piece)
            count += piece.count { $0 == 0x0A }
        }
        try output.commit()
        print("\(HumanText.count(count, "request")) in \(path)")
        return ExitCode.success
    }
}
