import Configuration
import Releases
import Testing

@Suite struct `Release description` {
    @Test func `carries what a configuration says about queues and migrations`() throws {
        let shape = """
            tenant = "t"
            compatibility_date = "2026-08-01"
            [workers.a]
            product = "A"
            d1 = [{ binding = "DB", resource = "d", migrations = "m", migrations_table = "steps", migrations_pattern = "*.up" }]
            queues.consume = [{ queue = "jobs", dead_letter = "dead" }, { queue = "pulled", type = "http_pull", visibility_timeout = "90s" }]
            [queues.pulled]
            [queues.jobs]
            delivery_delay = "90s"
            retention = "2h"
            messages_per_second = 5000
            backlog = "1GB"
            """
        let project = ProjectConfiguration(
            shape: SourceText(name: "wrangler-like.toml", text: shape),
            environments: ["dev": SourceText(name: "environments/dev.toml", text: "retention.queue = \"5m\"\n")])
        let loaded = project.load(environment: "dev")
        let configuration = try #require(loaded.configuration, "\(loaded.diagnostics.rendered)")
        var asked: [D1Migrations] = []
        let description = try ReleaseDescription(configuration, name: "r", executable: { "/bin/\($0)" }) { migrations in
            asked.append(migrations)
            return [("0001_a.up", "text")]
        }
        #expect(asked == [D1Migrations(directory: "m", table: "steps", pattern: "*.up")])
        #expect(description.migrations.map(\.table) == ["steps"])
        #expect(description.migrations.map(\.database) == ["d"])
        #expect(description.migrations.first?.files.map(\.name) == ["0001_a.up"])
        #expect(
            description.queues == [
                QueueDescription(name: "dead", deliveryDelaySeconds: 0, retentionSeconds: 300),
                QueueDescription(
                    name: "jobs", deliveryDelaySeconds: 90, retentionSeconds: 7200, messagesPerSecondMax: 5000,
                    backlogBytesMax: 1_000_000_000),
                QueueDescription(name: "pulled", deliveryDelaySeconds: 0, retentionSeconds: 300),
            ])
        #expect(
            description.workers.first?.consumers == [
                .init(queue: "jobs", deadLetterQueue: "dead"),
                .init(queue: "pulled", batchSize: 5, delivery: .pull, visibilityTimeout: .seconds(90)),
            ])
    }
}
