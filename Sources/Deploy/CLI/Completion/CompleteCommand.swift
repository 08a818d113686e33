internal import Configuration
internal import ControlPlane
internal import System

/// `edge __complete -- WORD...`: what can stand in the place of the last word, a line each, with a tab and a few words of help
/// behind some. `:files` and `:directories` leave it to the shell. The scripts of `edge completion` call it.
enum CompleteCommand: Command {
    static let name = "__complete"
    static let summary = "Asked by shells"
    static let operands: [Operand] = [.any("WORD")]
    static let isHidden = true

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        // bash takes `--option=value` apart.
        var words = arguments.positional.filter { $0 != "=" }
        if arguments.positional.last == "=" { words.append("") }
        let current = words.popLast() ?? ""
        for line in await CompletionRequest(words: words, current: current).candidates() { print(line) }
        return ExitCode.success
    }
}

/// A command line that isn't finished.
struct CompletionRequest {
    let words: [String]
    let current: String

    func candidates() async -> [String] {
        var rest = words[...]
        let path: CommandPath
        if words.isEmpty || words == ["help"] {
            return matching((words.isEmpty ? ["help\tprints help"] : []) + Self.names(of: Edge.commands))
        }
        if rest.first == "help" { rest.removeFirst() }
        do throws(UsageError) { path = try CommandPath.find(&rest, in: Edge.commands) } catch { return [] }
        if let group = path.command as? any CommandGroup.Type, !group.isCommand || !current.hasPrefix("-") && rest.isEmpty {
            return matching(Self.names(of: group.commands))
        }
        return await candidates(for: path.command, behind: Array(rest))
    }

    private static func names(of commands: [any Command.Type]) -> [String] {
        commands.filter { !$0.isHidden }.map { "\($0.name)\t\($0.summary)" }
    }

    private func matching(_ candidates: [String]) -> [String] { candidates.filter { $0.hasPrefix(current) } }

    /// - Parameter given: The words behind the command's name, without the current one.
    private func candidates(for command: any Command.Type, behind given: [String]) async -> [String] {
        let options = command.options + [.flag("help", "prints this")]
        var waiting: Option?
        var used: Set<String> = []
        var operandCount = 0
        var isOver = false
        for word in given {
            if waiting != nil {
                waiting = nil
            } else if isOver || !word.hasPrefix("-") || word == "-" {
                operandCount += 1
            } else if word == "--" {
                isOver = true
            } else if let option = options.first(where: { $0.isCalled(word.prefix { $0 != "=" }) }) {
                if case .values = option.kind {} else { used.insert(option.name) }
                if case .flag = option.kind { continue }
                if !word.contains("=") { waiting = option }
            }
        }
        if let waiting { return await values(waiting.completion, command, given) }
        if current.hasPrefix("-"), !isOver {
            return matching(options.filter { !used.contains($0.name) }.map { "--\($0.name)\t\($0.help)" })
        }
        guard let operand = command.operands.count > operandCount ? command.operands[operandCount] : command.operands.last,
            operandCount < command.operands.count || operand.count == .any
        else { return [] }
        return await values(operand.completion, command, given)
    }

    private func values(_ completion: Completion, _ command: any Command.Type, _ given: [String]) async -> [String] {
        switch completion {
        case .nothing: return []
        case .files: return [":files"]
        case .directories: return [":directories"]
        case .choices(let choices): return matching(choices)
        case .environments:
            let folder = (ConfigurationLoader.findFromHere()?.directory ?? ".") + "/environments"
            return matching(FileTree.list(folder).filter { $0.hasSuffix(".toml") }.map { String($0.dropLast(5)) })
        case .tenants, .workers, .namespaces, .databases, .buckets, .queues:
            // Whatever goes wrong, there is nobody to tell.
            return matching((try? await names(completion, command, given)) ?? [])
        }
    }

    /// Asks the node that the words so far mean, if it answers at once.
    private func names(_ kind: Completion, _ command: any Command.Type, _ given: [String]) async throws -> [String] {
        // What isn't complete yet doesn't count; what matters is which node and tenant are meant.
        let arguments = try CommandLineArguments(
            Self.connectionWords(given, command.options), options: APIClient.tenantOptions, operands: [])
        let client = try APIClient(arguments, patience: .seconds(2))
        switch kind {
        case .tenants: return try await client.list("/accounts").compactMap { $0["name"]?.text }
        case .workers:
            let answer = try await client.node.send("GET", "/status")
            let workers = JSON(try await answer.bytes())?["workers"]?.items ?? []
            return workers.filter { arguments.value("tenant") == nil || $0["tenant"]?.text == arguments.value("tenant") }
                .compactMap { $0["name"]?.text }
        case .namespaces:
            return try await client.list("\(client.account())/storage/kv/namespaces").compactMap { $0["title"]?.text }
        case .databases: return try await client.list("\(client.account())/d1/database").compactMap { $0["name"]?.text }
        case .buckets:
            let buckets = try await client.result("GET", "\(client.account())/r2/buckets")["buckets"]?.items ?? []
            return buckets.compactMap { $0["name"]?.text }
        case .queues:
            return try await client.result("GET", "\(client.account())/queues").items?.compactMap { $0["queue_name"]?.text }
                ?? []
        case .nothing, .files, .directories, .choices, .environments: return []
        }
    }

    /// The options among `given` that say which node, who asks, and which tenant.
    private static func connectionWords(_ given: [String], _ options: [Option]) -> [String] {
        var words: [String] = []
        var index = 0
        while index < given.count {
            let word = given[index]
            index += 1
            let called = word.prefix { $0 != "=" }
            guard word.hasPrefix("--"), let option = options.first(where: { $0.isCalled(called) }) else { continue }
            if case .flag = option.kind { continue }
            var taken = [word]
            if !word.contains("=") {
                guard index < given.count else { break }
                taken.append(given[index])
                index += 1
            }
            if APIClient.tenantOptions.contains(where: { $0.isCalled(called) }) { words += taken }
        }
        return words
    }
}
