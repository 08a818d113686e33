internal import ControlPlane

/// What commands print.
enum Output {
    /// One line of JSON, for scripts.
    static func json(_ json: JSON) { print(String(decoding: json.bytes, as: UTF8.self)) }

    /// What a command says that lists: the API's items for scripts, else a table of them.
    ///
    /// - Parameters:
    ///   - nothing: What is printed on standard error in place of a table without rows.
    ///   - row: One cell for each column.
    static func list(
        _ items: [JSON], _ arguments: CommandLineArguments, _ columns: Table.Column..., orSay nothing: String,
        row: (JSON) -> [String]
    ) -> Int32 {
        if arguments.has("json") {
            json(.array(items))
        } else {
            var table = Table(columns)
            for item in items { table.add(row(item)) }
            table.print(orSay: nothing)
        }
        return ExitCode.success
    }

    /// `2026-11-21 20:53:11` of a time as the API writes it, in UTC; what is no such time stays.
    static func time(_ text: String?) -> String {
        guard let text else { return "" }
        guard text.utf8.count >= 19, text.utf8.dropFirst(10).first == UInt8(ascii: "T") else { return text }
        return "\(text.prefix(10)) \(text.dropFirst(11).prefix(8))"
    }
}
