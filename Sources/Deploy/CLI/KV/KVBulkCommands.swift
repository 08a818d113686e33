internal import ControlPlane

/// What the bulk commands share: files are read as they are sent, in portions that the node takes at once.
private enum KVPortions {
    /// The node takes 10,000 and 100 MB; smaller ones show sooner how far it is.
    static let countMax = 5000
    static let byteCountMax = 8 << 20

    /// Sends the items of the file's array.
    ///
    /// - Returns: `{successful_key_count, unsuccessful_keys}` of all portions together.
    static func send(
        _ file: InputFile, _ client: APIClient, _ method: String, _ path: APIPath, title: String
    ) async throws -> JSON {
        var splitter = JSONArraySplitter()
        var (items, byteCount): ([[UInt8]], Int) = ([], 0)
        var (count, refused): (Int64, [JSON]) = (0, [])
        let bar = ProgressBar(title, total: file.byteCount, clock: client.node.clock)
        defer { bar.finish() }
        func flush() async throws {
            guard !items.isEmpty else { return }
            let answer = try await client.upload(method, path, .json(array(items)), title: nil)["result"]
            count += answer?["successful_key_count"]?.integer ?? 0
            refused += answer?["unsuccessful_keys"]?.items ?? []
            (items, byteCount) = ([], 0)
        }
        while true {
            let piece = try file.read()
            if piece.isEmpty { break }
            for item in try splitter.take(piece) {
                items.append(item)
                byteCount += item.count
                if items.count >= countMax || byteCount >= byteCountMax { try await flush() }
            }
            bar.advance(by: piece.count)
        }
        try splitter.finish()
        try await flush()
        return .object(["successful_key_count": .integer(count), "unsuccessful_keys": .array(refused)])
    }

    private static func array(_ items: [[UInt8]]) -> [UInt8] {
        var bytes = [UInt8(ascii: "[")]
        for (index, item) in items.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += item
        }
        return bytes + [UInt8(ascii: "]")]
    }

    /// The keys of a file: an array of names, or of objects that have one.
    static func keys(_ file: InputFile) throws -> [String] {
        guard let items = JSON(try file.readAll(bytesMax: 256 << 20))?.items else { throw JSONArraySplitter.Malformed() }
        return try items.map { item in
            guard let name = item.text ?? item["name"]?.text ?? item["key"]?.text else {
                throw APIFailure("\(file.name): each item must be a key, or an object with a \"name\"")
            }
            return name
        }
    }

    static func report(_ outcome: JSON, _ verb: String, _ arguments: CommandLineArguments) -> Int32 {
        let refused = outcome["unsuccessful_keys"]?.items ?? []
        if arguments.has("json") {
            Output.json(outcome)
        } else {
            print("\(verb) \(HumanText.count(outcome["successful_key_count"]?.integer ?? 0, "key"))")
            for key in refused { Edge.complain("refused: \(Terminal.printable(key.text ?? ""))") }
        }
        return refused.isEmpty ? ExitCode.success : ExitCode.failure
    }
}

enum KVBulkPutCommand: Command {
    static let name = "put"
    static let summary = "Stores the pairs of a file"
    static let discussion = """
        Stores what FILE has (- for standard input): an array of {"key", "value"}, each with base64, expiration, expiration_ttl
        and metadata if wanted. Exit code 1 when a pair was refused; the others are stored.
        """
    static let operands: [Operand] = [.one("FILE", .files)]
    static let options = KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let file = try InputFile(try arguments.required("FILE"))
        let (client, namespace, _) = try await KVTarget.find(arguments)
        let outcome = try await KVPortions.send(file, client, "PUT", "\(namespace)/bulk", title: file.name)
        return KVPortions.report(outcome, "stored", arguments)
    }
}

enum KVBulkGetCommand: Command {
    static let name = "get"
    static let summary = "Prints the values of the keys that a file names, as JSON"
    static let operands: [Operand] = [.one("FILE", .files)]
    static let options = KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let keys = try KVPortions.keys(try InputFile(try arguments.required("FILE")))
        let (client, namespace, _) = try await KVTarget.find(arguments)
        var members: [JSON.Member] = []
        for start in stride(from: 0, to: keys.count, by: 100) {
            let some = keys[start..<min(keys.count, start + 100)]
            members += try await values(of: Array(some), client, namespace)
        }
        Output.json(.object(members))
        return ExitCode.success
    }

    /// What is more than one answer may hold is asked for in halves.
    private static func values(of keys: [String], _ client: APIClient, _ namespace: APIPath) async throws -> [JSON.Member] {
        do {
            let found = try await client.result("POST", "\(namespace)/bulk/get", .object(["keys": .strings(keys)]))
            return found["values"]?.members ?? []
        } catch let failure as APIFailure where failure.status == 413 && keys.count > 1 {
            let half = keys.count / 2
            return try await values(of: Array(keys.prefix(half)), client, namespace)
                + values(of: Array(keys.dropFirst(half)), client, namespace)
        }
    }
}

enum KVBulkDeleteCommand: Command {
    static let name = "delete"
    static let summary = "Deletes the keys that a file names"
    static let operands: [Operand] = [.one("FILE", .files)]
    static let options = [KVTarget.confirmation] + KVTarget.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let keys = try KVPortions.keys(try InputFile(try arguments.required("FILE")))
        let (client, namespace, _) = try await KVTarget.find(arguments)
        try Confirmation.ask("Delete \(HumanText.count(keys.count, "key"))?", arguments)
        var (count, refused): (Int64, [JSON]) = (0, [])
        for start in stride(from: 0, to: keys.count, by: KVPortions.countMax) {
            let some = keys[start..<min(keys.count, start + KVPortions.countMax)]
            let answer = try await client.result("POST", "\(namespace)/bulk/delete", .strings(some))
            count += answer["successful_key_count"]?.integer ?? 0
            refused += answer["unsuccessful_keys"]?.items ?? []
        }
        let outcome = JSON.object(["successful_key_count": .integer(count), "unsuccessful_keys": .array(refused)])
        return KVPortions.report(outcome, "deleted", arguments)
    }
}
