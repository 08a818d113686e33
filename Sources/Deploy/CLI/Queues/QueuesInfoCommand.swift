internal import ControlPlane

/// `edge queues info`: what there is to know of one queue.
enum QueuesInfoCommand: Command {
    static let name = "info"
    static let summary = "Shows a queue, who sends to it, who consumes it, and what waits"
    static let operands = [QueuesCommand.queue]
    static let options = APIClient.tenantOptions

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let target = try await QueueTarget(arguments)
        let metrics = try await target.client.result("GET", "\(target.path)/metrics")
        if arguments.has("json") {
            Output.json(.object((target.queue.members ?? []) + [JSON.Member(name: "metrics", value: metrics)]))
        } else {
            for (title, text) in lines(target.queue, metrics) { print("\(title): \(Terminal.printable(text))") }
        }
        return ExitCode.success
    }

    private static func lines(_ queue: JSON, _ metrics: JSON) -> [(String, String)] {
        let settings = queue["settings"]
        let producers = queue["producers"]?.items ?? []
        var lines = [
            ("Queue Name", queue["queue_name"]?.text ?? ""), ("Queue ID", queue["queue_id"]?.text ?? ""),
            ("Created On", Output.time(queue["created_on"]?.text)), ("Last Modified", Output.time(queue["modified_on"]?.text)),
            (
                "Messages",
                "\(metrics["backlog_count"]?.integer ?? 0), \(HumanText.bytes(metrics["backlog_bytes"]?.integer ?? 0))"
            ),
            ("Delivery", settings?["delivery_paused"] == true ? "paused" : "on"),
            ("Delivery Delay", "\(settings?["delivery_delay"]?.integer ?? 0) s"),
            ("Message Retention", "\(settings?["message_retention_period"]?.integer ?? 0) s"),
            ("Number of Producers", "\(producers.count)"),
        ]
        if !producers.isEmpty {
            let names = producers.map { "\($0["type"]?.text ?? ""):\(($0["script"] ?? $0["bucket_name"])?.text ?? "")" }
            lines.append(("Producers", names.joined(separator: ", ")))
        }
        let consumers = queue["consumers"]?.items ?? []
        lines.append(("Number of Consumers", "\(consumers.count)"))
        if let consumer = consumers.first { lines.append(("Consumers", QueuesConsumerCommand.text(consumer))) }
        return lines
    }
}
