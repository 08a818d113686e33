import Testing

@testable import Configuration

@Suite struct `Wrangler's format` {
    private func read(
        _ text: String, name: String = "wrangler.toml", environment: String? = nil
    ) -> (configuration: EffectiveConfiguration?, diagnostics: [Diagnostic]) {
        WranglerReader.read(
            SourceText(name: name, text: text),
            .init(environment: environment, today: CivilDate(year: 2026, month: 11, day: 21)))
    }

    private func worker(_ text: String, environment: String? = nil) throws -> WorkerConfiguration {
        let (configuration, diagnostics) = read(text, environment: environment)
        return try #require(configuration?.workers.first, "\(diagnostics.rendered)")
    }

    private static let base = "name = \"api\"\nmain = \"Api\"\ncompatibility_date = \"2026-08-01\"\n"

    @Test func `probe 1: variables are not inherited by an environment, and that is said`() throws {
        let text = Self.base + "[vars]\nA = 1\n[env.staging]\n"
        let (configuration, diagnostics) = read(text, environment: "staging")
        #expect(configuration?.workers.first?.variables.isEmpty == true)
        #expect(
            diagnostics.map(\.description) == [
                #"wrangler.toml:4:2: warning: env.staging.vars: "vars" exists at the top level, but not on "env.staging". This is not what you probably want, since "vars" is not inherited by environments. Please add "vars" to "env.staging"."#
            ])
        let partly = read(
            Self.base + "[vars]\nA = 1\nB = 2\n[env.staging.vars]\nA = 3\n", environment: "staging")
        #expect(partly.configuration?.workers.first?.variables.map(\.value) == [.json("3")])
        #expect(
            partly.diagnostics.map(\.message).first?.hasPrefix(
                #""vars.B" exists at the top level, but not on "env.staging.vars"."#) == true)
    }

    @Test func `probe 2: an environment is a worker of its own`() throws {
        #expect(try worker(Self.base + "[env.staging]\n", environment: "staging").name == "api-staging")
        #expect(try worker(Self.base + "[env.staging]\nname = \"x\"\n", environment: "staging").name == "x")
        #expect(try worker(Self.base).name == "api")
    }

    @Test func `probe 3: an unknown environment is an error where there are others`() {
        let (configuration, diagnostics) = read(Self.base + "[env.staging]\n", environment: "prod")
        #expect(configuration == nil)
        #expect(
            diagnostics.first?.message
                == #"No environment found in configuration with name "prod". The available configured environment names are: "staging""#
        )
        let none = read(Self.base, environment: "prod")
        #expect(none.configuration != nil)
        #expect(none.diagnostics.map(\.severity) == [.warning])
        #expect(read(Self.base + "[env.staging]\n").diagnostics.map(\.severity) == [.warning])
    }

    @Test(arguments: [
        (
            "route = \"a.com/*\"\nroutes = [\"b.com/*\"]\n",
            #"5:1: error: routes: Expected exactly one of the following fields ["routes","route"]."#
        ),
        ("foo = 1\n", #"4:1: warning: foo: Unexpected fields found in top-level field: "foo""#),
        (
            "workers_dev = \"yes\"\n",
            #"4:15: error: workers_dev: Expected "workers_dev" to be of type boolean but got "yes"."#
        ),
        (
            "kv_namespaces = [{ id = \"x\" }]\n",
            #"4:18: error: kv_namespaces[0].binding: "kv_namespaces[0]" bindings should have a string "binding" field but got {"id":"x"}."#
        ),
        (
            "assets = { directory = \"p\", html_handling = \"x\" }\n",
            #"4:45: error: assets.html_handling: Expected "assets.html_handling" field to be one of ["auto-trailing-slash","force-trailing-slash","drop-trailing-slash","none"] but got "x"."#
        ),
        (
            "limits = { cpu_ms = 300001 }\n",
            #"4:21: error: limits.cpu_ms: Expected "limits.cpu_ms" to be between 1 and 300000 but got 300001."#
        ),
        (
            "browser = { binding = \"B\" }\n",
            #"4:1: error: browser: "browser" is not supported: this version of edge has no such binding"#
        ),
        (
            "minify = true\n",
            #"4:1: warning: minify: "minify" is ignored: it bundles JavaScript; a worker here is a Swift executable"#
        ),
        (
            "legacy_env = true\n",
            #"4:1: error: legacy_env: "legacy_env" is not supported: it belongs to an older format; each environment is a worker of its own"#
        ),
        (
            "r2_buckets = [{ binding = \"B\", bucket_name = \"A\" }]\n",
            #"4:46: error: r2_buckets[0].bucket_name: Expected "r2_buckets[0].bucket_name" to match ^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$ but got "A"."#
        ),
        (
            "[triggers]\ncrons = [\"x\"]\n",
            #"5:10: error: triggers.crons: cron expression "x" has 1 fields, not 5"#
        ),
        (
            "[vars]\nB = 1\nmain = \"x\"\n",
            #"6:1: warning: vars.main: "main" is a variable here: a key belongs to the last [table] header above it"#
        ),
        (
            "durable_objects.bindings = [{ name = \"R\", class_name = \"Room\" }]\n",
            #"4:38: error: durable_objects.R: the class "Room" of "R" is created by no migration"#
        ),
        (
            "ratelimits = [{ name = \"R\", namespace_id = \"1\", simple = { limit = 1, period = 30 } }]\n",
            #"4:80: error: ratelimits[0].simple.period: unsupported period: 30"#
        ),
        (
            "routes = [{ pattern = \"a.com/x\", custom_domain = true }]\n",
            "4:23: error: routes[0]: Paths are not allowed in Custom Domains"
        ),
        (
            "routes = [1]\n",
            #"4:11: error: routes[0]: Expected "routes[0]" to be either a string, or an object with shape { pattern, custom_domain, zone_id | zone_name } but got 1."#
        ),
        (
            "observability = { enabled = true, sampling = 1 }\n",
            #"4:35: warning: observability.sampling: Unexpected fields found in observability field: "sampling""#
        ),
    ])
    func `probe 4: reports in wrangler's words, with places`(_ text: String, _ expected: String) {
        let (_, diagnostics) = read(Self.base + text)
        #expect(diagnostics.map { $0.description.replacing("wrangler.toml:", with: "") } == [expected])
    }

    @Test func `probe 5: a name is checked at its value`() {
        let bad = read("name = \"Api_Gateway!\"\nmain = \"A\"\ncompatibility_date = \"2026-08-01\"\n")
        #expect(bad.configuration == nil)
        #expect(
            bad.diagnostics.map(\.description) == [
                #"wrangler.toml:1:8: error: name: Expected "name" to be of type string, alphanumeric and lowercase with dashes only but got "Api_Gateway!"."#
            ])
        func named(_ count: Int) -> [String] {
            read(
                "name = \"\(String(repeating: "a", count: count))\"\nmain = \"A\"\ncompatibility_date = \"2026-08-01\"\n"
            ).diagnostics.map(\.message)
        }
        #expect(named(63) == [])
        #expect(named(64) == [#"Expected "name" to have at most 63 characters but got 64."#])
        #expect(
            read("name = 1\nmain = \"A\"\ncompatibility_date = \"2026-08-01\"\n").diagnostics.map(\.message)
                == [#"Expected "name" to be of type string but got 1."#])
        #expect(
            read("name = \"a\"\ncompatibility_date = \"2026-08-01\"\n").diagnostics.map(\.message) == [
                #""main" is a required field."#
            ])
    }

    @Test func `probe 6: an en dash in the compatibility date is named`() {
        let (_, diagnostics) = read("name = \"a\"\nmain = \"A\"\ncompatibility_date = \"2026–08–01\"\n")
        #expect(
            diagnostics.map(\.message) == [
                "\"2026–08–01\" has an en dash or em dash where a date needs a hyphen"
            ])
        #expect(diagnostics.first?.fix == "compatibility_date = \"2026-08-01\"")
    }

    @Test func `probe 7: names are unique over all kinds`() {
        let (configuration, diagnostics) = read(
            Self.base
                + "kv_namespaces = [{ binding = \"DB\" }]\nd1_databases = [{ binding = \"DB\", database_name = \"d\" }]\n"
        )
        #expect(configuration == nil)
        #expect(
            diagnostics.map(\.message) == [
                "worker \"api\" has two things named \"DB\": a KV namespace (wrangler.toml:4:30) and a D1 database (wrangler.toml:5:29)"
            ])
    }

    @Test func `probe 24: crons of none are removed, absent ones are kept`() throws {
        #expect(try worker(Self.base).keepsDeployedCrons)
        #expect(try !worker(Self.base + "[triggers]\ncrons = []\n").keepsDeployedCrons)
        #expect(
            try worker(Self.base + "[triggers]\ncrons = [\"0 3 * * *\"]\n").crons.map(\.text) == ["0 3 * * *"]
        )
    }

    @Test func `inherits whole values, repeats bindings, keeps top-level keys out`() throws {
        let text =
            Self.base + """
                account_id = "acct"
                routes = ["a.com/*"]
                observability = { enabled = true, head_sampling_rate = 0.5 }
                kv_namespaces = [{ binding = "TOP" }]
                [env.staging]
                route = "s.com/*"
                observability = { enabled = true }
                kv_namespaces = [{ binding = "OWN", id = "own" }]
                dev = { port = 1 }
                bar = 2
                """
        let (configuration, diagnostics) = read(text, environment: "staging")
        let worker = try #require(configuration?.workers.first)
        #expect(configuration?.tenant == "acct")
        #expect(worker.routes.map(\.pattern.text) == ["s.com/*"])
        #expect(worker.observability.sampling == 1)
        #expect(worker.bindings.map(\.name) == ["OWN"])
        #expect(worker.bindings.first?.target == .kv(resource: "own"))
        #expect(!worker.hasDefaultHost)
        #expect(
            diagnostics.map(\.message) == [
                #"Unexpected fields found in env.staging field: "dev""#,
                #"Unexpected fields found in env.staging field: "bar""#,
            ])
        let domain = read(
            Self.base + "routes = [{ pattern = \"a.com\", custom_domain = true }]\n[env.staging]\n",
            environment: "staging")
        #expect(domain.configuration == nil)
        #expect(domain.diagnostics.map(\.code) == [.routeConflict])
    }

    @Test func `reads every kind of binding, from JSON with comments too`() throws {
        let json = """
            { // one worker
              "$schema": "node_modules/wrangler/config-schema.json",
              "name": "api", "main": "Api", "compatibility_date": "2026-08-01", "dev": { "port": 9000 },
              "vars": { "N": 5, "T": { "a": [1, null] } }, "secrets": { "required": ["KEY"] },
              "kv_namespaces": [{ "binding": "KV" }],
              "d1_databases": [{ "binding": "DB", "database_name": "main" }],
              "r2_buckets": [{ "binding": "BUCKET", "bucket_name": "media" }],
              "queues": { "producers": [{ "binding": "Q", "queue": "jobs", "delivery_delay": 5 }],
                          "consumers": [{ "queue": "jobs", "max_batch_size": 7, "dead_letter_queue": "dead" }] },
              "services": [{ "binding": "AUTH", "service": "auth", "environment": "staging", "props": { "x": 1 } }],
              "ratelimits": [{ "name": "RL", "namespace_id": "1001", "simple": { "limit": 5, "period": 10 } }],
              "analytics_engine_datasets": [{ "binding": "AE" }],
              "vectorize": [{ "binding": "VEC", "index_name": "idx" }],
              "durable_objects": { "bindings": [{ "name": "ROOM", "class_name": "Room" }] },
              "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Room"] }],
              "workflows": [{ "binding": "WF", "name": "flow", "class_name": "Flow" }],
              "send_email": [{ "name": "MAIL", "destination_address": "a@b.c" }],
              "hyperdrive": [{ "binding": "HD", "id": "1" }],
              "dispatch_namespaces": [{ "binding": "DN", "namespace": "ns" }],
              "ai": { "binding": "AI" }, "version_metadata": { "binding": "VM" },
              "tail_consumers": [{ "service": "tail" }],
              "assets": { "directory": "public", "binding": "ASSETS", "run_worker_first": ["/api/*"] },
              "build": { "command": "swift build", "watch_dir": "Sources" },
            }
            """
        let (configuration, diagnostics) = read(json, name: "wrangler.jsonc")
        let worker = try #require(configuration?.workers.first, "\(diagnostics.rendered)")
        #expect(diagnostics.isEmpty)
        #expect(configuration?.listen == [ListenAddress(host: "127.0.0.1", port: 9000)])
        #expect(
            worker.bindings.map(\.name) == [
                "KV", "DB", "BUCKET", "Q", "AUTH", "RL", "AE", "VEC", "ROOM", "WF", "MAIL", "HD", "DN", "AI",
                "VM", "ASSETS",
            ])
        #expect(worker.binding("KV")?.target == .kv(resource: "api-kv"))
        #expect(
            worker.binding("DB")?.target
                == .d1(
                    resource: "main",
                    migrations: D1Migrations(
                        directory: "./migrations", table: "d1_migrations", pattern: "*.sql")))
        #expect(worker.binding("Q")?.target == .queue("jobs", delay: .seconds(5)))
        #expect(
            worker.binding("AUTH")?.target
                == .service(worker: "auth-staging", entrypoint: nil, props: "{\"x\":1}"))
        #expect(worker.consumers.first?.batchCountMax == 7)
        #expect(worker.variables.map(\.value) == [.json("5"), .json("{\"a\":[1,null]}")])
        #expect(worker.secrets.map(\.name) == ["KEY"])
        #expect(worker.tailConsumers == ["tail"])
        #expect(worker.build == BuildSettings(command: "swift build", directory: nil, watch: ["Sources"]))
        #expect(configuration?.queues.map(\.name) == ["dead", "jobs"])
        #expect(worker.hasDefaultHost)
        #expect(worker.customDomains.map(\.domain.host) == ["api.localhost"])
        #expect(worker.outbound.allows(host: "example.com", port: 443))
    }

    @Test(arguments: [
        ("Api", "Api"), (".build/debug/Api", "Api"), ("Sources/Api/main.swift", "Api"), ("src/index.ts", "index"),
    ])
    func `main names a product`(_ main: String, _ product: String) {
        let text = "name = \"a\"\nmain = \"\(main)\"\ncompatibility_date = \"2026-08-01\"\n"
        #expect(read(text).configuration?.workers.first?.product == product)
    }

    @Test(arguments: [
        ("account_id = \"../up\"", "account_id"), ("account_id = \"lock\"", "account_id"),
        ("d1_databases = [{ binding = \"DB\", database_name = \"../up\" }]", "d1_databases[0].database_name"),
        ("kv_namespaces = [{ binding = \"KV\", id = \"a/b\" }]", "kv_namespaces[0].id"),
        ("queues.producers = [{ binding = \"Q\", queue = \"a_b\" }]", "queues.producers[0].queue"),
    ])
    func `a name by which the node keeps something is one of its own kind`(_ line: String, _ path: String) {
        let text = "name = \"a\"\nmain = \"A\"\ncompatibility_date = \"2026-08-01\"\n\(line)\n"
        let (configuration, diagnostics) = read(text)
        #expect(configuration == nil)
        #expect(diagnostics.map(\.path) == [path])
    }

    @Test func `is written as our format, which reads as the same worker`() throws {
        let text = #"""
            name = "api"
            main = "Api"
            account_id = "abc"
            compatibility_date = "2026-08-01"
            routes = ["example.com/api/*", { pattern = "api.example.com", custom_domain = true }]
            workers_dev = true
            kv_namespaces = [{ binding = "KV", id = "cafe" }]
            d1_databases = [{ binding = "DB", database_name = "main", migrations_table = "done" }, { binding = "NONE", migrations_dir = "gone" }]
            r2_buckets = [{ binding = "BUCKET", bucket_name = "media" }]
            queues.producers = [{ binding = "Q", queue = "jobs", delivery_delay = 5 }]
            queues.consumers = [{ queue = "other", max_batch_size = 7, dead_letter_queue = "dead", retry_delay = 3 }, { queue = "pulled", type = "http_pull", visibility_timeout_ms = 90000 }]
            ratelimits = [{ name = "RL", namespace_id = "1001", simple = { limit = 5, period = 10 } }]
            durable_objects.bindings = [{ name = "ROOM", class_name = "Room" }]
            migrations = [{ tag = "v1", new_sqlite_classes = ["Old"] }, { tag = "v2", renamed_classes = [{ from = "Old", to = "Room" }] }]
            triggers.crons = ["*/5 * * * *"]
            limits = { cpu_ms = 500 }
            secrets = { required = ["KEY"] }
            version_metadata = { binding = "VERSION" }
            [vars]
            TEXT = "a \"quoted\" one"
            N = 5
            T = { a = [1, { b = true }] }
            """#
        let (configuration, diagnostics) = read(text)
        let wrangler = try #require(configuration, "\(diagnostics.rendered)")
        let written = ShapeText(wrangler) { $0.directory != "gone" }.text
        let project = ProjectConfiguration(
            shape: SourceText(name: "wrangler-like.toml", text: written), environments: [:])
        let loaded = project.load(environment: "dev")
        let own = try #require(loaded.configuration, "\(loaded.diagnostics.rendered)\n\(written)")
        #expect(loaded.diagnostics.isEmpty)
        #expect(own.tenant == "abc")
        let (old, new) = (try #require(wrangler.worker("api")), try #require(own.worker("api")))
        #expect(new.product == old.product)
        #expect(new.routes.map(\.pattern.text) == old.routes.map(\.pattern.text))
        #expect(Set(new.customDomains.map(\.domain.host)) == Set(old.customDomains.map(\.domain.host)))
        for binding in old.bindings where binding.name != "NONE" && binding.name != "RL" {
            #expect(new.binding(binding.name)?.target == binding.target)
        }
        #expect(new.bindings.count == old.bindings.count)
        // No folder, no migrations; a rate limit is relaxed in dev.
        #expect(new.binding("NONE")?.target == .d1(resource: "api-none", migrations: nil))
        let limit = RateLimit(key: .given, namespace: "1001", limit: 50, periodSeconds: 10)
        #expect(new.binding("RL")?.target == .rateLimit(limit))
        #expect(new.consumers.map(\.kind) == [.worker, .pull])
        #expect(new.consumers.last?.visibilityTimeout == .seconds(90))
        #expect(new.consumers.map(\.batchCountMax) == [7, 5] && new.consumers.first?.deadLetterQueue == "dead")
        #expect(new.consumers.first?.retryDelay == .seconds(3))
        #expect(new.crons == old.crons)
        #expect(new.secrets.map(\.name) == ["KEY"])
        #expect(new.migrations == old.migrations)
        #expect(new.limits.cpu == .seconds(2))
        #expect(new.outbound == old.outbound)
        #expect(new.variables.map { "\($0.name) \($0.value)" } == old.variables.map { "\($0.name) \($0.value)" })
        #expect(own.queues.map(\.name) == wrangler.queues.map(\.name))
    }

    @Test func `a JSON syntax error has its place`() {
        let (configuration, diagnostics) = read("{\n  \"name\": api\n}", name: "wrangler.json")
        #expect(configuration == nil)
        #expect(diagnostics.map(\.description) == ["wrangler.json:2:11: error: \"api\" is no value"])
    }
}
