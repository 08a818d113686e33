/// What `--help` prints.
enum Help {
    static func overview(_ commands: [any Command.Type], version: String) -> String {
        """
        edge \(version): runs serverless workers, each in a sandboxed process, and the stores that they use

        usage: edge COMMAND [OPTION...]

        \(columns(commands.filter { !$0.isHidden }.map { ($0.name, $0.summary) }))

        `edge COMMAND --help` tells more; README.md has a tour.
        Exit codes: 0 done, 1 failed, 2 configuration or release refused, 64 wrong usage,
        75 in use: another node has the state directory or the address, 130 ended at once by a second signal.
        """
    }

    static func text(_ path: CommandPath) -> String {
        let command = path.command
        var parts = [
            "usage: edge \(path.text) \(command.usage)", command.discussion.isEmpty ? command.summary : command.discussion,
        ]
        if let group = command as? any CommandGroup.Type {
            parts.append(columns(leaves(of: group)))
            parts.append("`edge \(path.text) COMMAND --help` tells more.")
            guard group.isCommand else { return parts.joined(separator: "\n\n") }
        }
        let options = command.options + [.flag("help", "prints this")]
        parts.append(
            "options, with what holds without them in brackets:\n" + columns(options.map { ($0.usage, $0.help) }))
        return parts.joined(separator: "\n\n")
    }

    /// All commands below a group, with the words that lead to them.
    private static func leaves(of group: any CommandGroup.Type, _ prefix: String = "") -> [(String, String)] {
        group.commands.filter { !$0.isHidden }.flatMap { command in
            (command as? any CommandGroup.Type).map { leaves(of: $0, prefix + command.name + " ") }
                ?? [(prefix + command.name, command.summary)]
        }
    }

    private static func columns(_ rows: [(String, String)]) -> String {
        let width = (rows.map(\.0.count).max() ?? 0) + 2
        return rows.map { "  \($0.0)" + String(repeating: " ", count: width - $0.0.count) + $0.1 }.joined(separator: "\n")
    }
}
