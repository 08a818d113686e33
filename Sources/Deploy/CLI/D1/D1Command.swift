internal import ControlPlane

/// `edge d1`: databases over the REST API. Verbs and flags are wrangler's.
enum D1Command: CommandGroup {
    static let name = "d1"
    static let summary = "Makes, asks, dumps, fills, migrates and restores D1 databases"
    static let commands: [any Command.Type] = [
        D1CreateCommand.self, D1ListCommand.self, D1InfoCommand.self, D1DeleteCommand.self, D1ExecuteCommand.self,
        D1ExportCommand.self, D1ImportCommand.self, D1MigrationsCommand.self, D1TimeTravelCommand.self,
    ]

    static let database = Operand.one("DATABASE", .databases)
}

/// One database, as commands ask for it.
struct D1Target {
    let api: APIClient
    /// `/accounts/ID/d1/database/DATABASE`
    let path: APIPath

    static let options = BoundStore.options + APIClient.storeOptions
    static let previewOption = Option.flag("preview", "the database of its preview_database_id, in wrangler's format")

    /// - Parameter database: Its name or id. Without, it is the command's operand, which may be the name of a binding too.
    init(_ arguments: CommandLineArguments, _ database: String? = nil) async throws {
        var arguments = arguments
        let asked = try database ?? arguments.required("DATABASE")
        if arguments.has("preview") {
            // The preview is named in the configuration: nothing else is looked for.
            let preview = try BoundStore.findPreview(of: asked, &arguments)
            api = try APIClient(arguments)
            path = "\(try await api.account())/d1/database/\(preview)"
            return
        }
        let bound = database == nil ? try Self.bound(asked, &arguments) : nil
        api = try APIClient(arguments)
        let all: APIPath = "\(try await api.account())/d1/database"
        guard let bound, bound != asked else {
            path = "\(all)/\(asked)"
            return
        }
        // Whoever has a database of that very name means it.
        let isName: Bool
        do {
            _ = try await api.result("GET", "\(all)/\(asked)")
            isName = true
        } catch let failure as APIFailure where failure.status == 404 || failure.status == 400 { isName = false }
        path = "\(all)/\(isName ? asked : bound)"
    }

    /// The database that the configuration, if there is one, binds under this name.
    private static func bound(_ name: String, _ arguments: inout CommandLineArguments) throws -> String? {
        let isAsked = ["environment", "worker", "config", "project"].contains { arguments.has($0) }
        guard isAsked || Project.isHere else { return nil }
        return try BoundStore.findDatabase(name, isAsked: isAsked, &arguments)
    }

    func result(_ method: String, _ verb: APIPath, query: APIClient.Query = [], _ body: JSON? = nil) async throws -> JSON {
        try await api.result(method, "\(path)\(verb)", query: query, body)
    }

    /// Asks how a transfer goes until it is over.
    ///
    /// - Throws: when it failed, with the node's reason.
    func waitForEnd(of first: JSON, _ ask: (_ bookmark: JSON) async throws -> JSON) async throws -> JSON {
        var status = first
        var pause = Duration.milliseconds(50)
        while status["status"]?.text == "active" {
            try await api.node.clock.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
            status = try await ask(status["at_bookmark"] ?? .null)
        }
        guard status["status"]?.text == "complete" else {
            throw APIFailure(Terminal.printable(status["error"]?.text ?? "the node doesn't say how it ended"))
        }
        return status
    }

    /// Where a URL that the node has given for a file leads, seen from here.
    static func target(of url: String?) throws -> String {
        guard let url, let start = url.firstRange(of: "/client/v4/")?.lowerBound else {
            throw APIFailure("the node gives no address for the file")
        }
        return String(url[start...])
    }
}
