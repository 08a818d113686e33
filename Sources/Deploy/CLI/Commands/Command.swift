/// One command of `edge`: what is typed, what `--help` tells, and what it does.
protocol Command: SendableMetatype {
    static var name: String { get }
    /// Half a line.
    static var summary: String { get }
    /// What stands behind the name, as `--help` shows it; made from the operands where nothing else is said.
    static var usage: String { get }
    /// What `--help` tells beyond the summary; may be empty.
    static var discussion: String { get }
    static var operands: [Operand] { get }
    static var options: [Option] { get }
    /// Not shown: for scripts that `edge` itself has made.
    static var isHidden: Bool { get }
    /// - Returns: the exit code.
    static func run(_ arguments: CommandLineArguments) async throws -> Int32
}

extension Command {
    static var usage: String { (operands.map(\.usage) + ["[OPTION...]"]).joined(separator: " ") }
    static var discussion: String { "" }
    static var operands: [Operand] { [] }
    static var options: [Option] { [] }
    static var isHidden: Bool { false }
}

/// Several commands under one word, such as `edge kv key put`.
protocol CommandGroup: Command {
    static var commands: [any Command.Type] { get }
    /// Whether it does something by itself, too, when no word that is a command follows.
    static var isCommand: Bool { get }
}

extension CommandGroup {
    static var isCommand: Bool { false }
    static var usage: String { isCommand ? (operands.map(\.usage) + ["[OPTION...]"]).joined(separator: " ") : "COMMAND [OPTION...]" }
    static func run(_ arguments: CommandLineArguments) async throws -> Int32 { throw missingCommand() }

    static func missingCommand(before word: String? = nil) -> UsageError {
        let names = commands.filter { !$0.isHidden }.map { $0.name }
        let choice =
            names.count > 1 ? names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "") : names.first ?? ""
        return .missingArgument(choice + (word.map { " before \($0)" } ?? ""))
    }
}

/// A command, and the words that lead to it: `kv`, `key`, `put`.
struct CommandPath {
    private(set) var names: [String]
    private(set) var command: any Command.Type

    var text: String { names.joined(separator: " ") }

    /// Takes the words off the front of `words` that lead to a command.
    ///
    /// - Returns: also a group, when no further word is there, or an option comes next.
    static func find(_ words: inout ArraySlice<String>, in commands: [any Command.Type]) throws(UsageError) -> CommandPath {
        let first = words.popFirst() ?? ""
        guard let command = commands.first(where: { $0.name == first }) else {
            throw .unknownCommand(first, nearest: nearest(to: first, among: commands))
        }
        var path = CommandPath(names: [first], command: command)
        while let group = path.command as? any CommandGroup.Type, let word = words.first, !word.hasPrefix("-") {
            guard let next = group.commands.first(where: { $0.name == word }) else {
                // An operand of its own.
                if group.isCommand, !group.operands.isEmpty { break }
                throw .unknownCommand(
                    "\(path.text) \(word)", nearest: nearest(to: word, among: group.commands).map { "\(path.text) \($0)" })
            }
            words.removeFirst()
            path.names.append(word)
            path.command = next
        }
        return path
    }

    private static func nearest(to name: String, among commands: [any Command.Type]) -> String? {
        Nearest.name(to: name, among: commands.filter { !$0.isHidden }.map { $0.name })
    }
}
