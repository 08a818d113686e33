internal import ControlPlane
internal import Glibc
internal import HTTP
internal import System

/// `edge tail WORKER`: a worker's events as they happen.
enum TailCommand: Command {
    static let name = "tail"
    static let summary = "Shows a worker's requests, crons and batches as they happen, with their logs"
    static let discussion = """
        Prints each event when it is over: what it was, how it ended, its logs and what it threw. Filters are applied by the node; an
        event has to pass all of them. Ctrl-C ends it. When the node starts anew, so does the tail.

        Values of headers that authenticate, secrets of the worker and what looks like an id in a URL are hidden by the node.

        example: edge tail api-gateway --status error --method POST --format json
        """
    static let operands = [Operand.one("WORKER", .workers)]
    static let options: [Option] =
        [
            .value("format", "FORMAT", "pretty, or json: one object per line (pretty)", .choices(["pretty", "json"])),
            .values("status", "STATUS", "events that ended so: ok, error or canceled", .choices(["ok", "error", "canceled"])),
            .values("method", "METHOD", "requests with this method"),
            .values("header", "NAME[:VALUE]", "requests with this header, and a value that contains this"),
            .value("sampling-rate", "SHARE", "a share of all events, from 0 to 1"),
            .value("search", "TEXT", "events with this text in their logs"),
            .values("ip", "ADDRESS", "requests from this address; self: from where this command runs"),
            .value("version-id", "ID", "events of this version"),
        ] + APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let worker = try arguments.required("WORKER")
        let word = arguments.value("format") ?? (arguments.has("json") ? "json" : "pretty")
        guard let format = TailPrinter.Format(rawValue: word) else {
            throw UsageError.invalidValue(option: "--format", value: word, expected: "pretty or json")
        }
        let filters = try filters(arguments)
        let printer = TailPrinter(format: format, hasColors: Terminal.isOutput)
        return try await TailFollower(worker: worker, filters: filters, printer: printer, arguments).run()
    }

    private static let outcomes: [String: [JSON]] = [
        "ok": ["ok"], "canceled": ["canceled"], "error": ["exception", "exceededCpu", "exceededMemory", "unknown"],
    ]

    private static func filters(_ arguments: CommandLineArguments) throws(UsageError) -> JSON {
        var filters: [JSON] = []
        if let text = arguments.value("sampling-rate") {
            guard let rate = Double(text), (0...1).contains(rate) else {
                throw .invalidValue(option: "--sampling-rate", value: text, expected: "a number from 0 to 1")
            }
            filters.append(.object(["sampling_rate": .number(rate)]))
        }
        var wanted: [JSON] = []
        for status in arguments.all("status") {
            guard let outcomes = outcomes[status] else {
                throw .invalidValue(option: "--status", value: status, expected: "ok, error or canceled")
            }
            wanted += outcomes
        }
        if !wanted.isEmpty { filters.append(.object(["outcome": .array(wanted)])) }
        let (methods, addresses) = (arguments.all("method"), arguments.all("ip"))
        if !methods.isEmpty { filters.append(.object(["method": .strings(methods.map { $0.uppercased() })])) }
        for text in arguments.all("header") {
            let halves = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let key = halves[0].filter { $0 != " " }
            guard !key.isEmpty else {
                throw .invalidValue(option: "--header", value: text, expected: "NAME or NAME:VALUE")
            }
            let query = halves.count == 2 ? String(halves[1].drop { $0 == " " }) : ""
            filters.append(
                .object(["header": .object(["key": .string(key), "query": query.isEmpty ? nil : .string(query)])]))
        }
        if !addresses.isEmpty { filters.append(.object(["client_ip": .strings(addresses)])) }
        if let text = arguments.value("search") { filters.append(.object(["query": .string(text)])) }
        if let version = arguments.value("version-id") { filters.append(.object(["scriptVersion": .string(version)])) }
        return .object(["filters": .array(filters)])
    }
}
