import HTTP
import Testing

@testable import Configuration

@Suite struct `Effective configuration` {
    private func load(_ environment: String, _ project: ProjectConfiguration = Example.project()) throws
        -> EffectiveConfiguration
    {
        let (configuration, diagnostics) = project.load(environment: environment)
        return try #require(configuration, "\(diagnostics.rendered)")
    }

    @Test func `simulation is off unless an environment has a seed, which turns all of it on`() throws {
        #expect(try load("dev").simulate == nil)
        let all = try load("dev", Example.project(dev: "[simulate]\nseed = 42\n")).simulate
        #expect(
            all
                == SimulateSettings(
                    seed: 42, kvStaleness: .seconds(60), limitsKVWrites: false, d1Lag: .seconds(5), failurePercentage: 1,
                    latency: .milliseconds(250), queueDuplicatePercentage: 5, reordersQueues: true))
        let some = """
            simulate = { seed = 7, kv_stale = "0s", kv_write_rate_limit = true, d1_lag = "1m", failures = 100, latency = "0s", \
            queue_duplicates = 0, queue_reordering = false }
            """
        #expect(
            try load("staging", Example.project(staging: Example.staging + "\n" + some)).simulate
                == SimulateSettings(
                    seed: 7, kvStaleness: .zero, limitsKVWrites: true, d1Lag: .seconds(60), failurePercentage: 100,
                    latency: .zero, queueDuplicatePercentage: 0, reordersQueues: false))
    }

    @Test(arguments: [
        ("[simulate]\n", "environments/dev.toml:1:1: error: simulate.seed: \"seed\" is missing"),
        ("[simulate]\nseed = -1\n", "environments/dev.toml:2:8: error: simulate.seed: expected integer 0…"),
        ("simulate = 1\n", "environments/dev.toml:1:12: error: simulate: expected a table, got 1"),
        (
            "[simulate]\nseed = 1\nd1_lag = \"61s\"\n",
            "environments/dev.toml:3:10: error: simulate.d1_lag: expected a duration of 0s…1m"
        ),
        (
            "[simulate]\nseed = 1\nfailure = 1\n",
            "environments/dev.toml:3:1: error: simulate.failure: unknown key \"failure\"; did you mean \"failures\"?"
        ),
    ])
    func `what simulation can't mean is refused with its place`(_ text: String, _ finding: String) {
        let found = Example.findings("", dev: text)
        #expect(found.count == 1 && found.first?.hasPrefix(finding) == true, "\(found)")
    }

    @Test func `databases are counted over all workers, by the most generous of their plans`() throws {
        func worker(_ name: String, _ profile: String, _ databases: ClosedRange<Int>) -> String {
            let bindings = databases.map { "{ binding = \"DB\($0)\", resource = \"d\($0)\" }" }.joined(separator: ", ")
            return "[workers.\(name)]\nproduct = \"P\"\nlimits = { profile = \"\(profile)\" }\nd1 = [\(bindings)]\n"
        }
        let free = "cloudflare-free"
        // The two share five.
        #expect(Example.findings(worker("a", free, 1...7) + worker("b", free, 3...10)) == [])
        let found = Example.findings(worker("a", free, 1...7) + worker("b", free, 3...12))
        #expect(found.count == 1)
        let finding = "error: workers.b.d1.DB11: more than 10 D1 databases in all; cloudflare-free allows no more"
        #expect(found.first?.contains(finding) == true)
        #expect(Example.findings(worker("a", free, 1...7) + worker("b", "cloudflare-paid", 3...12)) == [])
    }

    @Test func `production refuses simulation with its place`() throws {
        let (configuration, diagnostics) = Example.project(production: Example.production + "\n[simulate]\nseed = 1\n")
            .load(environment: "production")
        #expect(configuration == nil)
        let lines = Example.production.split(separator: "\n", omittingEmptySubsequences: false).count
        let finding = try #require(diagnostics.first)
        #expect(diagnostics.count == 1)
        #expect(finding.code == .notAllowedHere && finding.path == "simulate")
        #expect(finding.location.map { "\($0.file):\($0.line):\($0.column)" } == "environments/production.toml:\(lines + 1):1")
    }

    @Test func `reads the whole example without a finding`() throws {
        let project = Example.project()
        for environment in ["dev", "staging", "production"] {
            #expect(project.load(environment: environment).diagnostics.rendered == "")
        }
        #expect(project.checkAll().rendered == "")
        let production = try load("production")
        #expect(production.tenant == "must-be-viral")
        #expect(production.listen == [ListenAddress(host: "0.0.0.0", port: 8080)])
        #expect(production.deploy.steps == [5, 25, 50, 100])
        #expect(production.deploy.affinity == .cookie("__edge_slot"))
        #expect(production.deploy.promoteFrom == "staging")
        #expect(production.keepWarm == .seconds(600))
        let gateway = try #require(production.worker("api-gateway"))
        #expect(gateway.product == "ApiGateway")
        #expect(gateway.routes.map(\.pattern.text) == ["mustbeviral.example/api/*"])
        #expect(gateway.customDomains.map(\.domain.host) == ["api.mustbeviral.example"])
        #expect(
            gateway.smoke == [
                SmokeTest(
                    method: "GET", path: "/api/health", headers: [:], body: nil, status: 200,
                    deadline: .milliseconds(500), contains: nil)
            ])
        #expect(
            gateway.binding("ANALYTICS")?.target
                == .service(worker: "analytics-service", entrypoint: "Ingest", props: nil))
        #expect(
            gateway.binding("PER_IP")?.target
                == .rateLimit(RateLimit(key: .clientAddress, namespace: nil, limit: 600, periodSeconds: 60)))
        #expect(gateway.assets?.workerFirst == .paths(["/api/*"]))
        #expect(
            gateway.isolates
                == IsolateSettings(countMin: 4, countMax: 16, concurrency: 64, idleTimeout: .seconds(300)))
        let auth = try #require(production.worker("auth-service"))
        #expect(
            auth.binding("DB")?.target
                == .d1(
                    resource: "auth",
                    migrations: D1Migrations(
                        directory: "migrations/auth", table: "d1_migrations", pattern: "*.sql")))
        #expect(auth.secrets.map(\.name) == ["JWT_KEY"])
        #expect(auth.variables.map(\.value) == [.json("3600")])
        let analytics = try #require(production.worker("analytics-service"))
        let consumer = try #require(analytics.consumers.first)
        #expect(consumer.batchCountMax == 100)
        #expect(consumer.concurrencyMax == 4)
        #expect(consumer.deadLetterQueue == "events-dead")
        #expect(production.queues.map(\.name) == ["events", "events-dead"])
        #expect(
            production.worker("websocket-service")?.customDomains.map(\.domain.host) == [
                "ws.mustbeviral.example"
            ])
        #expect(production.worker("content-service")?.variables.map(\.name) == ["FEATURED"])
        #expect(production.worker("content-service")?.crons.map(\.text) == ["*/15 * * * *"])
    }

    @Test func `layers go from built-in values to the environment's worker`() throws {
        let dev = try load("dev")
        // Built in for dev; the shape's [defaults] are stronger.
        #expect(dev.domain == "localhost")
        #expect(dev.log == LogSettings(level: .debug, format: .text))
        #expect(dev.errorPages == .trace)
        #expect(dev.worker("auth-service")?.isolates.countMin == 1)
        // dev relaxes CPU time by four; the shape's cache time stands against a built-in default.
        #expect(dev.worker("auth-service")?.limits.cpu == .seconds(120))
        #expect(dev.worker("api-gateway")?.cache.timeToLive == .seconds(60))
        #expect(dev.worker("auth-service")?.cache.timeToLive == .zero)
        let production = try load("production")
        // The environment's top level is stronger than the shape.
        #expect(production.worker("api-gateway")?.cache.timeToLive == .seconds(300))
        #expect(production.worker("auth-service")?.cache.timeToLive == .seconds(300))
        #expect(production.worker("auth-service")?.limits.cpu == .seconds(30))
        #expect(try load("staging").worker("auth-service")?.cache.timeToLive == .seconds(60))
        // Its [defaults] are stronger than that, its worker is strongest, --set above all.
        let layered = Example.project(
            dev: """
                cache_ttl = "1s"
                [defaults]
                isolates = { max = 7, concurrency = 5 }
                cache = { ttl = "2s" }
                [workers.api-gateway]
                isolates.max = 9
                """)
        let (configuration, diagnostics) = layered.load(
            environment: "dev", .init(sets: ["workers.auth-service.isolates.max=11", "log.level=warning"]))
        let set = try #require(configuration, "\(diagnostics.rendered)")
        #expect(
            set.worker("api-gateway")?.isolates
                == IsolateSettings(countMin: 1, countMax: 9, concurrency: 5, idleTimeout: .seconds(300)))
        #expect(set.worker("auth-service")?.isolates.countMax == 11)
        #expect(set.worker("api-gateway")?.cache.timeToLive == .seconds(2))
        #expect(set.log.level == .warning)
        #expect(set.setting("workers.auth-service.isolates.max")?.origin == "--set:1:35")
    }

    @Test func `probe 18: each value tells where it comes from`() throws {
        let production = try load("production")
        #expect(
            production.setting("workers.api-gateway.isolates.max")?.description
                == "workers.api-gateway.isolates.max = 16  (environments/production.toml:18:29)")
        #expect(production.setting("workers.auth-service.isolates.max")?.origin == "wrangler-like.toml:6:29")
        #expect(
            production.setting("workers.api-gateway.ratelimits.PER_IP.limit")?.origin
                == "environments/production.toml:19:31")
        #expect(production.setting("workers.api-gateway.ratelimits.PER_IP.period")?.value == "60")
        #expect(production.setting("workers.analytics-service.queues.consume.events.batch")?.value == "100")
        #expect(production.setting("deploy.drain")?.origin == "built-in")
        #expect(production.setting("workers.auth-service.limits.body")?.origin == "built-in, cloudflare-paid")
        #expect(production.setting("workers.auth-service.vars.TOKEN_TTL")?.value == "3600")
        let dev = try load("dev")
        #expect(
            dev.setting("workers.auth-service.limits.cpu")?.description
                == "workers.auth-service.limits.cpu = \"2m\"  (wrangler-like.toml:5:18, ×4 in dev)")
        #expect(Set(production.settings.map(\.path)).count == production.settings.count)
    }

    @Test func `probe 17: an environment sets values key by key, and no shape`() throws {
        let project = Example.project(
            dev: "[workers.auth-service]\nisolates = { max = 9 }\ncrons = [\"* * * * *\"]\nkv = []\n")
        let (configuration, diagnostics) = project.load(environment: "dev")
        #expect(configuration == nil)
        #expect(
            diagnostics.map(\.description) == [
                "environments/dev.toml:3:1: error: workers.auth-service.crons: \"crons\" is shape only: an environment can't set it",
                "environments/dev.toml:4:1: error: workers.auth-service.kv: \"kv\" is shape only: an environment can't set it",
            ])
        let fine = try load("dev", Example.project(dev: "[workers.auth-service]\nisolates = { max = 9 }\n"))
        #expect(fine.worker("auth-service")?.isolates.countMin == 1)
        #expect(fine.worker("auth-service")?.isolates.countMax == 9)
    }

    @Test func `probe 24: an empty list of crons and none are the same`() throws {
        let shape = Example.shape("[workers.a]\nproduct = \"A\"\ncrons = []\n[workers.b]\nproduct = \"B\"\n")
        let dev = try load("dev", Example.project(shape: shape, staging: nil, production: nil))
        #expect(dev.workers.allSatisfy { $0.crons.isEmpty })
    }

    @Test func `probe 23: a change tells whether a running node takes it`() throws {
        let old = try load("production")
        let changed = Example.production
            .replacing("level = \"info\"", with: "level = \"debug\"").replacing(
                "[5, 25, 50, 100]", with: "[100]")
        let new = try load("production", Example.project(production: changed))
        let changes = old.changes(to: new)
        #expect(changes.map(\.path) == ["deploy.steps", "log.level"])
        #expect(changes.map(\.effect) == [.byDeploy, .onReload])
        #expect(old.changes(to: old).isEmpty)
        let absent = try load("staging").changes(to: old).first { $0.path == "deploy.promote_from" }
        #expect(absent?.old == nil && absent?.new?.value == "\"staging\"")
    }

    @Test func `probe 16: a deploy needs each declared secret, and no variable of a stored secret's name`()
        throws
    {
        let production = try load("production")
        #expect(
            production.checkSecrets(stored: [:]).map(\.description) == [
                "wrangler-like.toml:25:12: error: workers.auth-service.secrets: worker \"auth-service\" requires the secret \"JWT_KEY\", which is not set in production"
            ])
        let clash = production.checkSecrets(stored: ["auth-service": ["JWT_KEY", "TOKEN_TTL"]])
        #expect(clash.count == 1)
        #expect(clash.first?.message.contains("\"TOKEN_TTL\"") == true)
        #expect(production.checkSecrets(stored: ["auth-service": ["JWT_KEY"]]).isEmpty)
    }

    @Test func `probe 15: variables are texts or JSON, never dates`() throws {
        let shape = Example.shape(
            "[workers.a]\nproduct = \"A\"\nvars = { S = \"x\", N = 5, T = { a = [1] }, B = true, F = 1.5 }\n")
        let dev = try load("dev", Example.project(shape: shape, staging: nil, production: nil))
        #expect(dev.worker("a")?.variables.map(\.name) == ["S", "N", "T", "B", "F"])
        #expect(
            dev.worker("a")?.variables.map(\.value) == [
                .text("x"), .json("5"), .json("{\"a\":[1]}"), .json("true"), .json("1.5"),
            ])
        #expect(
            Example.findings("[workers.a]\nproduct = \"A\"\nvars = { D = 2026-01-01 }\n") == [
                "6:14: error: workers.a.vars.D: a variable can't be a date"
            ])
    }

    @Test func `routes of localhost stand for the loopback addresses too`() throws {
        let dev = try load("dev")
        #expect(dev.routes.map(\.pattern.text).contains("127.0.0.1/api/*"))
        #expect(dev.routes.map(\.pattern.text).contains("[::1]/ws/*"))
        #expect(try load("production").routes.count == 2)
    }

    @Test func `a disabled worker keeps its place and loses its routes`() throws {
        let dev = try load(
            "dev",
            Example.project(
                dev: "[workers.websocket-service]\nenabled = false\n[workers.api-gateway]\nenabled = false\n")
        )
        #expect(dev.workers.count == 5)
        #expect(dev.routes.isEmpty)
    }

    @Test func `dev relaxes rate limits tenfold, unless its file sets them`() throws {
        func limit(_ dev: String?) throws -> Binding.Target? {
            try load("dev", Example.project(dev: dev)).worker("api-gateway")?.binding("PER_IP")?.target
        }
        func expected(_ limit: Int) -> Binding.Target {
            .rateLimit(RateLimit(key: .clientAddress, namespace: nil, limit: limit, periodSeconds: 60))
        }
        #expect(try limit(nil) == expected(1000))
        #expect(try limit("[workers.api-gateway]\nratelimits.PER_IP.limit = 7\n") == expected(7))
        let dev = try load("dev")
        #expect(dev.setting("workers.api-gateway.ratelimits.PER_IP.limit")?.value == "1000")
        #expect(
            dev.setting("workers.api-gateway.ratelimits.PER_IP.limit")?.origin
                == "wrangler-like.toml:11:57, ×10 in dev")
    }

    @Test func `settings hold the shape's own values too`() throws {
        let production = try load("production")
        #expect(production.setting("tenant")?.value == "\"must-be-viral\"")
        #expect(production.setting("queues.events.retention")?.value == "\"4d\"")
    }

    @Test func `a compatibility date turns on the behaviours up to it`() throws {
        let date = try #require(CivilDate(year: 2026, month: 2, day: 24))
        #expect(CompatibilityDate.Behaviour.deleteAllRemovesAlarms.isActive(on: date))
        #expect(!CompatibilityDate.Behaviour.automaticCloseReply.isActive(on: date))
    }

    @Test func `limits choose inside their profile`() throws {
        func findings(_ limits: String) -> [String] {
            Example.findings("[workers.a]\nproduct = \"A\"\nlimits = { \(limits) }\n").compactMap {
                $0.split(separator: "workers.a.").last.map(String.init)
            }
        }
        #expect(findings("profile = \"custom\", body = \"2GiB\"") == [])
        #expect(findings("body = \"2GiB\"") == ["limits.body: expected a size of 0B…500MB, got \"2GiB\""])
        #expect(
            findings("profile = \"cloudflare-free\", cpu = \"11ms\"") == [
                "limits.cpu: expected a duration of 1ms…10ms, got \"11ms\""
            ])
    }
}
