internal import ControlPlane
internal import HTTP

/// `edge d1 time-travel`: a database's past.
enum D1TimeTravelCommand: CommandGroup {
    static let name = "time-travel"
    static let summary = "Looks into a database's past, and brings it back"
    static let commands: [any Command.Type] = [D1TimeTravelInfoCommand.self, D1TimeTravelRestoreCommand.self]

    static let timestamp = Option.value("timestamp", "TIME", "a time: RFC 3339, or seconds since 1970")

    /// A time as the API takes it: what is digits alone counts seconds, or milliseconds where that is too many.
    static func time(_ arguments: CommandLineArguments) -> String? {
        guard let text = arguments.value("timestamp") else { return nil }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int64(text) else { return text }
        let seconds = text.utf8.count > 11 ? number / 1000 : number
        return HTTPDate(unixSeconds: seconds).iso8601
    }
}

enum D1TimeTravelInfoCommand: Command {
    static let name = "info"
    static let summary = "Shows the bookmark of the newest state, or of the state at a time"
    static let operands = [D1Command.database]
    static let options = [D1TimeTravelCommand.timestamp] + D1Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let found = try await D1Target(arguments).result(
            "GET", "/time_travel/bookmark", query: [("timestamp", D1TimeTravelCommand.time(arguments))])
        if arguments.has("json") { Output.json(found) } else { print(found["bookmark"]?.text ?? "") }
        return ExitCode.success
    }
}

enum D1TimeTravelRestoreCommand: Command {
    static let name = "restore"
    static let summary = "Makes an old state the newest one"
    static let discussion = """
        Makes an old state the newest one. Queries that run are cancelled. Later states stay in the history: what is printed
        names the bookmark that undoes this.

        example: edge d1 time-travel restore app --timestamp 2026-11-21T20:00:00Z
        """
    static let operands = [D1Command.database]
    static let options =
        [.value("bookmark", "BOOKMARK", "the state with this bookmark"), D1TimeTravelCommand.timestamp, Confirmation.option]
        + D1Target.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let (bookmark, time) = (arguments.value("bookmark"), D1TimeTravelCommand.time(arguments))
        guard (bookmark == nil) != (time == nil) else {
            throw bookmark == nil
                ? UsageError.missingArgument("--bookmark BOOKMARK or --timestamp TIME")
                : UsageError.unexpectedArgument("--timestamp beside --bookmark")
        }
        let name = try arguments.required("DATABASE")
        let target = try await D1Target(arguments)
        let when = bookmark ?? time ?? ""
        try Confirmation.ask("Replace the content of the database \(name) with that of \(when)?", arguments)
        let restored = try await target.result(
            "POST", "/time_travel/restore", query: [("bookmark", bookmark), ("timestamp", time)])
        if arguments.has("json") {
            Output.json(restored)
        } else {
            print("restored; to undo this: --bookmark \(restored["previous_bookmark"]?.text ?? "")")
        }
        return ExitCode.success
    }
}
