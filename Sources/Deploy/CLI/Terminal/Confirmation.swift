internal import Glibc

/// Asks before something is destroyed.
enum Confirmation {
    static let option = Option.flag("yes", "asks nothing", short: "y", aliases: ["skip-confirmation"])

    /// Returns when the user agrees, or has agreed before with `--yes`.
    ///
    /// - Parameter question: A whole sentence that names what will be lost, with its question mark.
    static func ask(_ question: String, _ arguments: CommandLineArguments) throws {
        if arguments.has("yes") { return }
        let question = Terminal.printable(question)
        // A script that forgot --yes must not hang, nor destroy anything.
        guard Terminal.isInput else { throw UsageError.unconfirmed(question) }
        Edge.show("\(question) [y/N] ")
        let answer = (readLine() ?? "").lowercased()
        guard answer == "y" || answer == "yes" else { throw Declined() }
    }

    struct Declined: Error, CustomStringConvertible {
        var description: String { "not confirmed: nothing was changed" }
    }
}
