internal import ControlPlane
internal import Glibc
internal import System

/// What the commands that manage a node share: which node, who asks, and what went wrong.
struct APIClient {
    /// Of commands that speak of the node as a whole.
    static let options: [Option] =
        NodeAddress.options + [
            .value("token", "TOKEN", "who asks ($EDGE_API_TOKEN, else the operator's, from --state)"),
            .flag("json", "prints the result as JSON"),
        ]
    /// Of commands that speak of one tenant.
    static let tenantOptions: [Option] =
        [.value("tenant", "TENANT", "whose (the only one that there is)", .tenants)] + options

    /// Of commands that wrangler has too. Without `--remote`, they speak to the node on this machine in any case.
    static let storeOptions: [Option] = [.flag("local", "the node on this machine, as without --remote")] + tenantOptions

    let node: NodeClient
    private let token: String
    private let tenant: String?
    /// Sent with each call.
    private let headers: [(name: String, value: String)]

    /// - Parameters:
    ///   - headers: Sent with each call.
    ///   - patience: How long an answer may take to begin.
    init(
        _ arguments: CommandLineArguments, headers: [(name: String, value: String)] = [],
        patience: Duration = .seconds(3600)
    ) throws {
        if arguments.has("local"), arguments.has("remote") { throw UsageError.unexpectedArgument("--local beside --remote") }
        self.headers = headers
        let address = try NodeAddress.find(arguments)
        token = try Self.token(for: address, arguments)
        node = NodeClient(address, patience: patience)
        tenant = arguments.value("tenant")
    }

    /// Of another node than the one that the command is about.
    ///
    /// - Parameters:
    ///   - environment: Of the node on this machine, where neither `url` nor `state` says more.
    init(
        source environment: String, url: String?, state: String?, token: String?, authorities: String?, tenant: String?,
        patience: Duration = .seconds(3600)
    ) throws {
        let state = state ?? NodeAddress.stateDirectory(of: environment)
        let address: NodeAddress
        if let url {
            guard let named = NodeAddress(url, authorities: authorities) else {
                throw UsageError.invalidValue(option: "--from", value: url, expected: "http://HOST:PORT or https://HOST:PORT")
            }
            address = named
        } else {
            address = try ControlFile.read(in: state)
        }
        if let token {
            self.token = token
        } else {
            self.token = try Self.operatorToken(for: address, in: state, isNamed: url == nil)
        }
        node = NodeClient(address, patience: patience)
        self.tenant = tenant
        headers = []
    }

    /// - Parameter environment: Of the node on this machine, where the command line says nothing else.
    init(_ arguments: CommandLineArguments, environment: String) throws {
        let state = arguments.value("state") ?? NodeAddress.stateDirectory(of: environment)
        guard arguments.value("remote") == nil else {
            try self.init(arguments)
            return
        }
        try self.init(
            source: environment, url: nil, state: state, token: arguments.value("token"),
            authorities: arguments.value("ca"), tenant: arguments.value("tenant"))
    }

    /// What `--tenant` says.
    var tenantName: String? { tenant }

    private static func operatorToken(for address: NodeAddress, in state: String, isNamed: Bool) throws -> String {
        // SAFETY: getenv's result is copied at once.
        if let token = unsafe getenv("EDGE_API_TOKEN").map({ unsafe String(cString: $0) }), !token.isEmpty { return token }
        guard address.isLoopback || isNamed else {
            throw APIFailure("\(address.origin) needs a token: give one with --from-token or $EDGE_API_TOKEN")
        }
        let file = OperatorToken.path(in: state)
        guard let text = try FileTree.readTextIfPresent(file)?.split(separator: "\n").first else {
            throw APIFailure("there is no \(file): name the node's state directory, or give a token")
        }
        return String(text)
    }

    private static func token(for address: NodeAddress, _ arguments: CommandLineArguments) throws -> String {
        // SAFETY: getenv's result is copied at once.
        let environment = unsafe getenv("EDGE_API_TOKEN").map { unsafe String(cString: $0) }
        if let token = arguments.value("token") ?? environment, !token.isEmpty { return token }
        // This machine's operator is nobody to a node elsewhere, which must not learn the token.
        guard address.isLoopback || arguments.value("state") != nil || arguments.value("remote") == nil else {
            throw APIFailure("\(address.origin) needs a token: give one with --token or $EDGE_API_TOKEN")
        }
        let file = OperatorToken.path(in: NodeAddress.stateDirectory(arguments))
        guard let text = try FileTree.readTextIfPresent(file)?.split(separator: "\n").first else {
            throw APIFailure("there is no \(file): give --state of the node, or a token with --token or $EDGE_API_TOKEN")
        }
        return String(text)
    }

    // MARK: Calls

    typealias Query = [(name: String, value: String?)]

    /// The envelope of the answer.
    ///
    /// - Parameter query: Parameters without a value are left out.
    /// - Throws: `APIFailure` with what the node says is wrong.
    func call(_ method: String, _ path: APIPath, query: Query = [], _ body: JSON? = nil) async throws -> JSON {
        try await envelope(send(method, path, query, body.map { .json($0.bytes) }))
    }

    /// The `result` of the answer; `null` where it has none.
    func result(_ method: String, _ path: APIPath, query: Query = [], _ body: JSON? = nil) async throws -> JSON {
        try await call(method, path, query: query, body)["result"] ?? .null
    }

    /// All items of a list that comes in pages.
    func list(_ path: APIPath, query: Query = []) async throws -> [JSON] {
        var items: [JSON] = []
        var page: Int64 = 1
        while true {
            let answer = try await call(
                "GET", path, query: query + [("page", String(page)), ("per_page", "100")])
            let found = answer["result"]?.items ?? []
            items += found
            let total = answer["result_info"]?["total_count"]?.integer
            if found.isEmpty || total.map({ $0 <= Int64(items.count) }) ?? (found.count < 100) { return items }
            page += 1
        }
    }

    /// Sends a body as it is read; with a progress bar under `title`, unless that is `nil`.
    ///
    /// - Returns: the envelope.
    func upload(
        _ method: String, _ path: APIPath, query: Query = [], headers: [(name: String, value: String)] = [],
        _ body: UploadBody, title: String?
    ) async throws -> JSON {
        let bar = title.map { ProgressBar($0, total: body.byteCount, clock: node.clock) }
        let answer: NodeClient.Answer
        do {
            answer = try await send(method, path, query, headers: headers, body, progress: bar)
            bar?.finish()
        } catch {
            bar?.finish()
            throw error
        }
        return try await envelope(answer)
    }

    /// Writes the raw answer to `target` as it comes; with a progress bar under `title`, unless that is `nil`.
    func download(
        _ path: APIPath, query: Query = [], headers: [(name: String, value: String)] = [], to target: OutputFile, title: String?
    ) async throws {
        let answer = try await stream("GET", path, query: query, headers: headers)
        let bar = title.map { ProgressBar($0, total: answer.byteCount, clock: node.clock) }
        defer { bar?.finish() }
        while let piece = try await answer.next() {
            try target.write(piece)
            bar?.advance(by: piece.count)
        }
        try target.commit()
    }

    /// An answer without an envelope, to be read by the caller.
    func stream(
        _ method: String, _ path: APIPath, query: Query = [], headers: [(name: String, value: String)] = [],
        _ body: UploadBody? = nil
    ) async throws -> NodeClient.Answer {
        let answer = try await send(method, path, query, headers: headers, body)
        guard answer.status < 400 else {
            _ = try await envelope(answer)
            throw APIFailure("\(node.address.origin) answers \(answer.status)")
        }
        return answer
    }

    private func send(
        _ method: String, _ path: APIPath, _ query: Query, headers: [(name: String, value: String)] = [],
        _ body: UploadBody? = nil, progress: ProgressBar? = nil
    ) async throws -> NodeClient.Answer {
        try await node.send(
            method, "/client/v4" + path.target(query),
            headers: [("authorization", "Bearer \(token)")] + self.headers + headers, body: body, progress: progress)
    }

    private func envelope(_ answer: NodeClient.Answer) async throws -> JSON {
        guard let json = JSON(try await answer.bytes()), json["success"] != nil else {
            throw APIFailure(
                "\(node.address.origin) answers \(answer.status); is it the control URL, the second one of the ready line?")
        }
        guard json["success"] == true else {
            let errors = (json["errors"]?.items ?? []).map { error in
                APIFailure.Reason(code: error["code"]?.integer ?? 0, message: error["message"]?.text ?? "")
            }
            throw APIFailure(status: answer.status, errors)
        }
        return json
    }

    // MARK: The tenant

    /// The path of the tenant that the command is about: `/accounts/ID`.
    func account() async throws -> APIPath {
        if let tenant { return "/accounts/\(tenant)" }
        let all = try await list("/accounts")
        guard let only = all.first, all.count == 1 else {
            let names = all.compactMap { $0["name"]?.text }.sorted()
            guard !names.isEmpty else { throw APIFailure("the node has no tenant that this token may use") }
            throw UsageError.missingArgument("--tenant (one of \(names.joined(separator: ", ")))")
        }
        return "/accounts/\(only["id"]?.text ?? "")"
    }
}

/// Why the node didn't do what it was asked for.
struct APIFailure: Error, CustomStringConvertible {
    struct Reason: Sendable {
        let code: Int64
        let message: String
    }
    /// Of the answer; 0 when there was none.
    let status: Int
    let reasons: [Reason]
    let description: String

    init(_ description: String) {
        self.description = description
        status = 0
        reasons = []
    }

    init(status: Int, _ reasons: [Reason]) {
        self.status = status
        self.reasons = reasons
        let text = reasons.map { "\($0.message) (\($0.code))" }.joined(separator: "; ")
        // The API doesn't tell what isn't there from what isn't allowed.
        let hint = status == 403 ? ": is the tenant's name right, and may the token do this?" : ""
        description = Terminal.printable(text.isEmpty ? "the node answers \(status)" : text) + hint
    }

    /// Whether the node gave this code, as `APIFailure` is thrown for all of them.
    func has(code: Int64) -> Bool { reasons.contains { $0.code == code } }
}
