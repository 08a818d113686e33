internal import ControlPlane
internal import HTTP

/// Rules of one kind: shown, added to, taken from, and set as a file has them.
private struct R2Rules {
    /// As the path of the API has it.
    let kind: String
    let client: APIClient
    let path: APIPath

    init(_ kind: String, _ arguments: CommandLineArguments) async throws {
        self.kind = kind
        client = try R2Target.client(arguments)
        path = "\(try await R2Target.bucket(try arguments.required("BUCKET"), client))/\(kind)"
    }

    var all: [JSON] {
        get async throws { try await client.result("GET", path)["rules"]?.items ?? [] }
    }

    func set(_ rules: [JSON]) async throws { try await set(.object(["rules": .array(rules)])) }
    func set(_ body: JSON) async throws { _ = try await client.result("PUT", path, body) }

    /// What a file has: `{"rules": […]}`, or the array alone.
    func set(from file: InputFile) async throws -> Int {
        guard let json = JSON(try file.readAll(bytesMax: 4 << 20)) else { throw APIFailure("\(file.name) is no JSON") }
        let rules = json.items ?? json["rules"]?.items
        guard let rules else { throw APIFailure("\(file.name) has no array of rules") }
        try await set(rules)
        return rules.count
    }

    func remove(_ id: String) async throws {
        let rules = try await all
        let left = rules.filter { $0["id"]?.text != id }
        guard left.count < rules.count else {
            let nearest = Nearest.name(to: id, among: rules.compactMap { $0["id"]?.text })
            throw APIFailure("there is no rule \"\(id)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ""))
        }
        try await set(left)
    }

    func list(_ arguments: CommandLineArguments) async throws -> Int32 {
        let rules = try await all
        if arguments.has("json") {
            Output.json(.object(["rules": .array(rules)]))
            return ExitCode.success
        }
        var table = Table("ID", "ENABLED", "PREFIX", "WHAT")
        for rule in rules {
            let prefix = rule["conditions"]?["prefix"]?.text ?? rule["prefix"]?.text ?? ""
            table.add(rule["id"]?.text ?? "", rule["enabled"] == false ? "no" : "yes", prefix, Self.text(rule))
        }
        table.print(orSay: "there are no rules")
        return ExitCode.success
    }

    private static func text(_ rule: JSON) -> String {
        var parts: [String] = []
        if let condition = rule["deleteObjectsTransition"]?["condition"] { parts.append("delete \(text(condition, "maxAge"))") }
        for transition in rule["storageClassTransitions"]?.items ?? [] {
            parts.append("\(transition["storageClass"]?.text ?? "") \(text(transition["condition"] ?? .null, "maxAge"))")
        }
        if let condition = rule["abortMultipartUploadsTransition"]?["condition"] {
            parts.append("abort uploads \(text(condition, "maxAge"))")
        }
        if let condition = rule["condition"] { parts.append("kept \(text(condition, "maxAgeSeconds"))") }
        return parts.joined(separator: ", ")
    }

    private static func text(_ condition: JSON, _ age: String) -> String {
        if let seconds = condition[age]?.integer {
            return seconds % 86_400 == 0 ? HumanText.count(seconds / 86_400, "day") : HumanText.count(seconds, "second")
        }
        return condition["date"]?.text.map { "at \(Output.time($0))" } ?? "for ever"
    }
}

/// Conditions as options say them.
private enum R2Conditions {
    static func days(_ name: String, _ member: String, _ arguments: CommandLineArguments) throws -> JSON? {
        guard let days = try arguments.integer(name, 1...36_500) else { return nil }
        return .object([
            JSON.Member(name: "type", value: "Age"), JSON.Member(name: member, value: .integer(Int64(days) * 86_400)),
        ])
    }

    static func date(_ name: String, _ arguments: CommandLineArguments) throws(UsageError) -> JSON? {
        guard let text = arguments.value(name) else { return nil }
        guard InternetTimestamp.milliseconds(text) != nil else {
            throw .invalidValue(option: "--\(name)", value: text, expected: "a date, as 2030-01-31")
        }
        return .object(["type": "Date", "date": .string(text)])
    }

    static func one(_ conditions: [JSON?], _ options: String) throws(UsageError) -> JSON? {
        let given = conditions.compactMap { $0 }
        guard given.count <= 1 else { throw .invalidValue(option: options, value: "", expected: "one of them") }
        return given.first
    }
}

private let file = Option.value("file", "FILE", "has the rules, as JSON; - for standard input; required", .files)
private let ruleName = Option.value("name", "ID", "which rule; required", aliases: ["id"])
private let bucket: [Operand] = [.one("BUCKET", .buckets)]

// MARK: What all kinds have

/// A kind of rules, as the path of the API has it.
protocol RuleKind: CommandGroup {
    static var kind: String { get }
}

private enum ListRules<Rules: RuleKind>: Command {
    static var name: String { "list" }
    static var summary: String { "Shows the rules" }
    static var operands: [Operand] { bucket }
    static var options: [Option] { R2Target.options }

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await R2Rules(Rules.kind, arguments).list(arguments)
    }
}

private enum RemoveRule<Rules: RuleKind>: Command {
    static var name: String { "remove" }
    static var summary: String { "Removes a rule" }
    static var operands: [Operand] { bucket }
    static var options: [Option] { [ruleName, Confirmation.option] + R2Target.options }

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let id = try arguments.requiredValue("name", "ID")
        let rules = try await R2Rules(Rules.kind, arguments)
        try Confirmation.ask("Remove the \(Rules.kind) rule \"\(id)\"?", arguments)
        try await rules.remove(id)
        print("removed \(id)")
        return ExitCode.success
    }
}

private enum SetRules<Rules: RuleKind>: Command {
    static var name: String { "set" }
    static var summary: String { "Replaces all rules by those of a file" }
    static var operands: [Operand] { bucket }
    static var options: [Option] { [file, Confirmation.option] + R2Target.options }

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let input = try InputFile(try arguments.requiredValue("file", "FILE"))
        let rules = try await R2Rules(Rules.kind, arguments)
        try Confirmation.ask("Replace all \(Rules.kind) rules of \"\(try arguments.required("BUCKET"))\"?", arguments)
        print("set \(HumanText.count(try await rules.set(from: input), "rule"))")
        return ExitCode.success
    }
}

// MARK: Lifecycle

enum R2LifecycleCommand: CommandGroup, RuleKind {
    static let kind = "lifecycle"
    static let name = "lifecycle"
    static let summary = "What becomes of objects with time"
    static let commands: [any Command.Type] = [
        ListRules<R2LifecycleCommand>.self, Add.self, RemoveRule<R2LifecycleCommand>.self, SetRules<R2LifecycleCommand>.self,
    ]

    enum Add: Command {
        static let name = "add"
        static let summary = "Adds a rule"
        static let operands = bucket + [.one("ID"), .optional("PREFIX")]
        static let options =
            [
                .value("expire-days", "N", "deletes objects so long after they came"),
                .value("expire-date", "DATE", "deletes objects at that date"),
                .value("ia-transition-days", "N", "makes objects InfrequentAccess so long after they came"),
                .value("ia-transition-date", "DATE", "makes objects InfrequentAccess at that date"),
                .value("abort-multipart-days", "N", "gives up unfinished uploads so long after they began"),
            ] + R2Target.options

        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let delete = try R2Conditions.one(
                [
                    R2Conditions.days("expire-days", "maxAge", arguments), R2Conditions.date("expire-date", arguments),
                ], "--expire-days, --expire-date")
            let infrequent = try R2Conditions.one(
                [
                    R2Conditions.days("ia-transition-days", "maxAge", arguments),
                    R2Conditions.date("ia-transition-date", arguments),
                ], "--ia-transition-days, --ia-transition-date")
            let abort = try R2Conditions.days("abort-multipart-days", "maxAge", arguments)
            guard delete != nil || infrequent != nil || abort != nil else {
                throw UsageError.missingArgument("--expire-days, --ia-transition-days or --abort-multipart-days")
            }
            let rule = JSON.object([
                "id": .string(try arguments.required("ID")), "enabled": true,
                "conditions": .object(["prefix": arguments.operand("PREFIX").map { .string($0) }]),
                "deleteObjectsTransition": delete.map { .object(["condition": $0]) },
                "abortMultipartUploadsTransition": abort.map { .object(["condition": $0]) },
                "storageClassTransitions": infrequent.map {
                    .array([.object(["condition": $0, "storageClass": "InfrequentAccess"])])
                },
            ])
            let rules = try await R2Rules("lifecycle", arguments)
            try await rules.set(try await rules.all + [rule])
            print("added \(try arguments.required("ID"))")
            return ExitCode.success
        }
    }
}

// MARK: Locks

enum R2LockCommand: CommandGroup, RuleKind {
    static let kind = "lock"
    static let name = "lock"
    static let summary = "What keeps objects from being overwritten and deleted"
    static let commands: [any Command.Type] = [
        ListRules<R2LockCommand>.self, Add.self, RemoveRule<R2LockCommand>.self, SetRules<R2LockCommand>.self,
    ]

    enum Add: Command {
        static let name = "add"
        static let summary = "Adds a rule"
        static let operands = bucket + [.one("ID"), .optional("PREFIX")]
        static let options =
            [
                .value("retention-days", "N", "keeps objects so long after they came"),
                .value("retention-date", "DATE", "keeps objects until that date"),
                .flag("retention-indefinite", "keeps objects until the rule is removed"),
            ] + R2Target.options

        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let names = "--retention-days, --retention-date or --retention-indefinite"
            let condition = try R2Conditions.one(
                [
                    R2Conditions.days("retention-days", "maxAgeSeconds", arguments),
                    R2Conditions.date("retention-date", arguments),
                    arguments.has("retention-indefinite") ? .object(["type": "Indefinite"]) : nil,
                ], names)
            guard let condition else { throw UsageError.missingArgument(names) }
            let id = try arguments.required("ID")
            let rule = JSON.object([
                "id": .string(id), "enabled": true, "prefix": arguments.operand("PREFIX").map { .string($0) },
                "condition": condition,
            ])
            let rules = try await R2Rules("lock", arguments)
            try await rules.set(try await rules.all + [rule])
            print("added \(id)")
            return ExitCode.success
        }
    }
}

// MARK: CORS

enum R2CorsCommand: CommandGroup, RuleKind {
    static let kind = "cors"
    static let name = "cors"
    static let summary = "Which pages of other origins may use the bucket"
    static let commands: [any Command.Type] = [List.self, SetRules<R2CorsCommand>.self, Delete.self]

    enum List: Command {
        static let name = "list"
        static let summary = "Shows the rules"
        static let operands = bucket
        static let options = R2Target.options

        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            var rules: [JSON] = []
            do { rules = try await R2Rules("cors", arguments).all } catch let failure as APIFailure
                where failure.has(code: 10059)
            {}
            if arguments.has("json") {
                Output.json(.object(["rules": .array(rules)]))
                return ExitCode.success
            }
            var table = Table("ID", "ORIGINS", "METHODS", "HEADERS", "EXPOSED", Table.Column("MAX AGE", .right))
            func texts(_ json: JSON?) -> String { (json?.items ?? []).compactMap(\.text).joined(separator: " ") }
            for rule in rules {
                let allowed = rule["allowed"]
                table.add(
                    rule["id"]?.text ?? "", texts(allowed?["origins"]), texts(allowed?["methods"]), texts(allowed?["headers"]),
                    texts(rule["exposeHeaders"]), rule["maxAgeSeconds"]?.integer.map { "\($0)" } ?? "")
            }
            table.print(orSay: "there are no rules")
            return ExitCode.success
        }
    }

    enum Delete: Command {
        static let name = "delete"
        static let summary = "Takes all rules away"
        static let operands = bucket
        static let options = [Confirmation.option] + R2Target.options

        static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
            let rules = try await R2Rules("cors", arguments)
            try Confirmation.ask("Take all CORS rules from \"\(try arguments.required("BUCKET"))\"?", arguments)
            _ = try await rules.client.result("DELETE", rules.path)
            print("there are no rules any more")
            return ExitCode.success
        }
    }
}
