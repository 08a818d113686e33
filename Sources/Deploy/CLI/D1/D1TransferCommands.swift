internal import ControlPlane
internal import Glibc
internal import OpenSSL
internal import System

enum D1ExportCommand: Command {
    static let name = "export"
    static let summary = "Writes a database as SQL to a file"
    static let operands = [D1Command.database]
    static let options: [Option] =
        [
            .value("output", "FILE", "where to, or - for standard output; required", .files),
            .values("table", "TABLE", "only this one; may be repeated"),
            .flag("no-schema", "only rows"),
            .flag("no-data", "only tables, indexes, triggers and views"),
            .flag(
                "yes", "as wrangler has it: nothing is asked in any case", short: "y", aliases: ["skip-confirmation"]),
        ] + D1Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let path = try arguments.requiredValue("output", "FILE")
        let output = try OutputFile(path)
        let target = try await D1Target(arguments)
        let begin = JSON.object([
            "output_format": "polling",
            "dump_options": .object([
                "no_schema": .bool(arguments.has("no-schema")), "no_data": .bool(arguments.has("no-data")),
                "tables": .strings(arguments.all("table")),
            ]),
        ])
        let status = try await target.waitForEnd(of: target.result("POST", "/export", begin)) { bookmark in
            try await target.result("POST", "/export", .object(["output_format": "polling", "current_bookmark": bookmark]))
        }
        let file = try D1Target.target(of: status["result"]?["signed_url"]?.text).dropFirst("/client/v4".utf8.count)
        try await target.api.download(APIPath(stringLiteral: String(file)), to: output, title: path == "-" ? nil : "export")
        guard path != "-" else { return ExitCode.success }
        if arguments.has("json") { Output.json(status) } else { print("exported to \(path)") }
        return ExitCode.success
    }
}

enum D1ImportCommand: Command {
    static let name = "import"
    static let summary = "Runs a file of SQL of any length: all of it or nothing"
    static let operands: [Operand] = [D1Command.database, .one("FILE", .files)]
    static let options = D1Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await load(try arguments.required("FILE"), arguments)
    }

    static func load(_ path: String, _ arguments: CommandLineArguments) async throws -> Int32 {
        let source = try ReadTwice(path)
        let target = try await D1Target(arguments)
        let etag = try source.etag()
        var status = try await target.result("POST", "/import", .object(["action": "init", "etag": .string(etag)]))
        if let url = status["upload_url"]?.text {
            try await send(source, etag, to: D1Target.target(of: url), target)
            status = try await target.result(
                "POST", "/import",
                .object(["action": "ingest", "etag": .string(etag), "filename": status["filename"] ?? .null]))
        }
        let end = try await target.waitForEnd(of: status) { bookmark in
            try await target.result("POST", "/import", .object(["action": "poll", "current_bookmark": bookmark]))
        }
        if arguments.has("json") {
            Output.json(end)
        } else {
            let count = end["result"]?["num_queries"]?.integer ?? 0
            print("\(HumanText.count(count, "statement")) done; the state before can be restored with `edge d1 time-travel`")
        }
        return ExitCode.success
    }

    /// The answer has no envelope: its ETag says what came.
    private static func send(_ source: ReadTwice, _ etag: String, to address: String, _ target: D1Target) async throws {
        let file = try source.open()
        let bar = ProgressBar("import", total: file.byteCount, clock: target.api.node.clock)
        defer { bar.finish() }
        let answer = try await target.api.node.send(
            "PUT", address, body: .file(file, contentType: "application/sql"), progress: bar)
        guard answer.status == 200, answer.header("etag") == "\"\(etag)\"" else {
            let said = JSON(try await answer.bytes())?["errors"]?.items?.first?["message"]?.text
            throw APIFailure(Terminal.printable(said ?? "the node answers \(answer.status) to the file"))
        }
    }
}

/// A file that is read for its checksum before it is sent. What comes from standard input waits in a temporary file.
private final class ReadTwice {
    private let path: String
    private let isTemporary: Bool

    init(_ path: String) throws {
        guard path == "-" else {
            _ = try InputFile(path)
            self.path = path
            isTemporary = false
            return
        }
        // SAFETY: getenv's result is copied at once.
        let directory = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
        self.path = "\(directory)/edge-import-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).sql"
        isTemporary = true
        let input = try InputFile("-")
        let file = try FileTree.openFile(self.path, flags: O_WRONLY | O_CREAT | O_EXCL)
        while true {
            let piece = try input.read()
            if piece.isEmpty { break }
            try file.writeAll(piece, on: self.path)
        }
    }

    deinit { if isTemporary { unsafe unlink(path) } }

    func open() throws -> InputFile { try InputFile(path) }

    /// MD5, as the API wants it.
    func etag() throws -> String {
        let file = try open()
        var digest = Digest(.md5)
        while true {
            let piece = try file.read()
            if piece.isEmpty { break }
            digest.update(piece)
        }
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.finish().flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
