internal import ControlPlane

/// `edge deploy status --nodes`: what each of several nodes serves, and whether that is the same.
enum NodesStatus {
    /// What a node says of itself.
    private struct Row: Sendable {
        var name: String
        var slots: JSON = .null
        /// What the active release was made from.
        var bundle: String?
        var problem: String?

        /// Nothing is in progress.
        var isSettled: Bool {
            let deployment = slots["deployment"] ?? .null
            return deployment == .null || deployment["finished_on"]?.text != nil || deployment["state"]?.text == "draining"
        }

        var json: JSON {
            .object([
                "slots": slots, "bundle": bundle.map { .string($0) } ?? .null,
                "problem": problem.map { .string($0) } ?? .null,
            ])
        }
    }

    /// - Returns: 0 when all nodes serve the same; 1 when they don't, or one can't be asked; 3 while a deployment goes on.
    static func run(_ list: NodeList, _ arguments: CommandLineArguments) async -> Int32 {
        var rows: [Row] = []
        for entry in list.entries { rows.append(await row(entry)) }
        let isKnown = rows.allSatisfy { $0.problem == nil }
        let isSame = isKnown && Set(rows.map { $0.bundle ?? "\($0.name): changed by the API" }).count == 1
        let isSettled = rows.allSatisfy(\.isSettled)
        if arguments.has("json") {
            let nodes = rows.map { JSON.Member(name: $0.name, value: $0.json) }
            Output.json(.object(["agree": .bool(isSame), "settled": .bool(isSettled), "nodes": .object(nodes)]))
        } else {
            var table = Table("NODE", "ENVIRONMENT", "ACTIVE", "BUNDLE", "DEPLOYMENT")
            for row in rows {
                let deployment = row.slots["deployment"] ?? .null
                table.add(
                    row.name, row.slots["environment"]?.text ?? "", row.slots["active"]?.integer.map { "release \($0)" } ?? "",
                    row.bundle.map { String($0.prefix(12)) } ?? "",
                    row.problem ?? deployment["number"]?.integer.map { "\($0), \(deployment["state"]?.text ?? "")" } ?? "")
            }
            table.print(orSay: "")
            for row in rows { tell(row, isSame: isSame) }
            if !isSettled {
                Edge.complain("a deployment is in progress")
            } else if isKnown, !isSame {
                Edge.complain("the nodes serve different releases: `edge deploy --nodes` brings them together")
            }
        }
        return !isSettled ? ExitCode.paused : isSame ? ExitCode.success : ExitCode.failure
    }

    /// What a node waits for, or why it doesn't serve what others do.
    private static func tell(_ row: Row, isSame: Bool) {
        let deployment = row.slots["deployment"] ?? .null
        guard let text = deployment["pause"]?.text ?? (isSame ? nil : deployment["reason"]?.text) else { return }
        for line in text.split(separator: "\n") { Edge.complain(Terminal.printable("\(row.name): \(line)")) }
    }

    private static func row(_ entry: NodeList.Entry) async -> Row {
        var row = Row(name: entry.name)
        do {
            let account = try await entry.client.account()
            row.slots = try await entry.client.result("GET", "\(account)/edge/slots")
            if let active = row.slots["active"]?.integer {
                row.bundle = try await entry.client.result("GET", "\(account)/edge/releases/\(active)")["bundle"]?.text
            }
        } catch { row.problem = "\(error)" }
        return row
    }
}
