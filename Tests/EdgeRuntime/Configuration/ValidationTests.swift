import Configuration
import Testing

@Suite struct `Validation of a configuration` {
    private static let two = "[workers.a]\nproduct = \"A\"\n"

    @Test(
        arguments: [
            // Keys and types.
            ("[workers.a]\nproduct = \"A\"\nfoo = 1\n", ["6:1: error: workers.a.foo: unknown key \"foo\""]),
            (
                "[workers.a]\nproduct = \"A\"\nroute = 1\n",
                ["6:1: error: workers.a.route: unknown key \"route\"; did you mean \"routes\"?"]
            ),
            (
                "[workers.a]\n",
                [
                    "4:1: error: workers.a.product: \"product\" is missing: name the SwiftPM executable, such as product = \"A\""
                ]
            ),
            // Files need no code, unless something is bound that only code could use.
            ("[workers.a]\nassets = { directory = \"public\" }\n", []),
            (
                "[workers.a]\nassets = { directory = \"public\" }\ncrons = [\"0 0 * * *\"]\n",
                [
                    "4:1: error: workers.a.product: \"product\" is missing: name the SwiftPM executable, such as product = \"A\""
                ]
            ),
            (
                "[workers.a]\nassets = { directory = \"p\", binding = \"A\", run_worker_first = true }\n",
                [
                    "5:39: error: workers.a.assets.binding: a worker without a product can't use a binding",
                    "5:63: error: workers.a.assets.run_worker_first: there is no worker that could run first",
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nassets = { directory = \"p\", run_worker_first = [\"x\", \"!/y\"] }\n",
                [
                    "6:49: error: workers.a.assets.run_worker_first: a rule begins with \"/\" or \"!/\", got \"x\""
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nassets = { directory = \"p\", run_worker_first = [\"!/y\"] }\n",
                ["6:48: error: workers.a.assets.run_worker_first: 1…100 rules, at least one without \"!\""]
            ),
            ("[workers.a]\nproduct = 1\n", ["5:11: error: workers.a.product: expected string, got 1"]),
            (
                "[workers.a]\nproduct = \"A\"\nisolates = { min = \"4\" }\n",
                ["6:20: error: workers.a.isolates.min: expected integer 0…256, got \"4\""]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nisolates = { max = 257 }\n",
                ["6:20: error: workers.a.isolates.max: expected integer 1…256, got 257"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nisolates = 4\n",
                ["6:12: error: workers.a.isolates: expected a table, got 4"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nlimits.cpu = 30\n",
                ["6:14: error: workers.a.limits.cpu: a duration needs a unit, got 30"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nlimits.cpu = \"30 s\"\n",
                ["6:14: error: workers.a.limits.cpu: expected a duration such as \"30s\", got \"30 s\""]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nlimits.cpu = \"6m\"\n",
                ["6:14: error: workers.a.limits.cpu: expected a duration of 1ms…5m, got \"6m\""]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nlimits.memory = 128\n",
                ["6:17: error: workers.a.limits.memory: a size needs a unit, got 128"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nlimits.memory = \"2GiB\"\n",
                ["6:17: error: workers.a.limits.memory: expected a size of 16MiB…1GiB, got \"2GiB\""]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nobservability.sampling = 1.5\n",
                ["6:26: error: workers.a.observability.sampling: expected number 0…1, got 1.5"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nisolates = { min = 3, max = 2 }\n",
                ["6:20: error: workers.a.isolates.min: min 3 is above max 2"]
            ),
            (
                "[workers.Api_Gateway]\nproduct = \"A\"\n",
                [
                    "4:10: error: workers.Api_Gateway: \"Api_Gateway\" is no name for a worker: lower-case letters, digits, \"-\" and \"_\" only, and no \"-\" at the start"
                ]
            ),
            // Environments.
            (
                "[workers.a]\nproduct = \"A\"\n[env.staging]\nx = 1\n",
                ["6:6: error: env.staging: [env.staging] has no place in wrangler-like.toml"]
            ),
            // Names that must meet.
            (
                "[workers.a]\nproduct = \"A\"\nservices = [{ binding = \"AUTH\", worker = \"auth-servce\" }]\n[workers.auth-service]\nproduct = \"B\"\n",
                [
                    "6:25: error: workers.a.AUTH: worker \"a\" binds AUTH to the worker \"auth-servce\", which no [workers.NAME] table defines; did you mean \"auth-service\"?"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nqueues.produce = [{ binding = \"Q\", queue = \"evnts\" }]\n[queues.events]\n",
                [
                    "6:31: error: workers.a.Q: worker \"a\" sends to the queue \"evnts\", which no [queues.NAME] table defines and no other worker uses; did you mean \"events\"?"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nqueues.consume = [{ queue = \"q\", dead_letter = \"q\" }]\n[queues.q]\n",
                [
                    "6:48: error: workers.a.queues.consume.q.dead_letter: queue \"q\" can't be its own dead-letter queue"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nqueues.consume = [{ queue = \"q\", dead_letter = \"dead-leters\" }]\n[queues.q]\n[queues.dead-letters]\n",
                [
                    "6:29: error: workers.a.queues.consume.q.dead_letter: worker \"a\" sends dead letters of \"q\" to the unknown queue \"dead-leters\"; did you mean \"dead-letters\"?"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nqueues.consume = [{ queue = \"q\" }]\n[workers.b]\nproduct = \"B\"\nqueues.consume = [{ queue = \"q\" }]\n[queues.q]\n",
                ["9:29: error: workers.b.queues.consume.q: queue \"q\" has two consumers: \"a\" and \"b\""]
            ),
            (
                "[workers.a]\nproduct = \"A\"\ndurable_objects = [{ binding = \"R\", class = \"Rom\" }]\nmigrations = [{ tag = \"v1\", new_sqlite_classes = [\"Room\"] }]\n",
                [
                    "6:32: error: workers.a.R: worker \"a\" binds R to the class \"Rom\", which no migration of \"a\" creates; did you mean \"Room\"?"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\ndurable_objects = [{ binding = \"R\", class = \"Room\" }]\nmigrations = [{ tag = \"v1\", new_sqlite_classes = [\"Room\"] }, { tag = \"v2\", deleted_classes = [\"Room\"] }]\n",
                [
                    "6:32: error: workers.a.R: Cannot apply --delete-class migration to class Room without also removing the binding that references it (R of the worker \"a\")"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nmigrations = [{ tag = \"v1\", new_classes = [\"A\"] }, { tag = \"v2\", new_sqlite_classes = [\"A\"] }]\n",
                [
                    "6:60: error: workers.a.migrations.v2.tag: migration \"v2\": Cannot apply new-sqlite-class migration to class 'A' that is already depended on by existing Durable Objects"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nmigrations = [{ tag = \"v1\", new_sqlite_classes = [\"B\"], renamed_classes = [{ from = \"A\", to = \"B\" }] }]\n",
                [
                    "6:23: error: workers.a.migrations.v1.tag: migration \"v1\": Cannot apply --rename-class migration to class B, which is also to be created: a class that takes over objects is not to be in new_sqlite_classes or new_classes"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nmigrations = [{ tag = \"v1\" }, { tag = \"v1\" }]\n",
                ["6:39: error: workers.a.migrations.v1.tag: two migrations have the tag \"v1\""]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nd1 = [{ binding = \"A\", resource = \"x\", migrations = \"m/1\" }, { binding = \"B\", resource = \"x\", migrations = \"m/2\" }]\n",
                [
                    "6:74: error: workers.a.B: database \"x\" has two sets of migrations: \"a\" names \"m/1\", \"a\" names \"m/2\""
                ]
            ),
            // Routes.
            (
                "[workers.a]\nproduct = \"A\"\nroutes = [\"x.com/a*b\"]\n",
                [
                    "6:11: error: workers.a.routes[0]: Route \"x.com/a*b\" for \"a\" contains an infix wildcard. This is not allowed."
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nroutes = [{ host = \"*.x.com\" }, { host = \"x.com/\" }]\n",
                [
                    "6:20: error: workers.a.routes[0].host: Wildcard operators (*) are not allowed in Custom Domains",
                    "6:42: error: workers.a.routes[1].host: Paths are not allowed in Custom Domains",
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nroutes = [\"{host}/*\"]\n",
                ["6:11: error: workers.a.routes[0]: unknown placeholder \"{host}\""]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nroutes = [\"x.com/*\"]\n[workers.b]\nproduct = \"B\"\nroutes = [\"x.com/*\"]\n",
                [
                    "9:11: error: workers.b.routes: route \"x.com/*\" of \"b\" (wrangler-like.toml:9:11) ties with \"x.com/*\" of \"a\" (wrangler-like.toml:6:11): some requests match both equally"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nroutes = [{ host = \"x.com\" }]\n[workers.b]\nproduct = \"B\"\ndomains = [\"X.com\"]\n",
                [
                    "9:12: error: workers.b.domains: host \"x.com\" belongs to \"a\" (wrangler-like.toml:6:20) and to \"b\" (wrangler-like.toml:9:12)"
                ]
            ),
            // Values of bindings.
            (
                "[workers.a]\nproduct = \"A\"\nratelimits = [{ binding = \"R\", limit = 1, period = 30 }]\n",
                ["6:52: error: workers.a.ratelimits.R.period: unsupported period: 30"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nanalytics = [{ binding = \"M\", dataset = \"../m\" }]\n",
                ["6:41: error: workers.a.analytics.M.dataset: \"../m\" is no name for a dataset"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nkv = [{ binding = \"1X\", resource = \"r\" }]\n",
                ["6:19: error: workers.a.kv.1X.binding: \"1X\" is no name for a binding"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nkv = [{ binding = \"X\", resource = \"R_\" }]\n",
                ["6:35: error: workers.a.kv.X.resource: \"R_\" is no valid name"]
            ),
            (
                "[workers.a]\nproduct = \"A\"\ncrons = [\"60 * * * *\"]\n",
                [
                    "6:10: error: workers.a.crons[0]: cron expression \"60 * * * *\": \"60\" is no minute; expected 0–59"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\ncache.rules = [{ path = \"api\" }, { ttl = \"1s\" }, { path = \"/a*b\", tll = \"1s\" }]\n",
                [
                    "6:25: error: workers.a.cache.rules[0].path: a path starts with a slash and may have a * at its end, got \"api\"",
                    "6:34: error: workers.a.cache.rules[1].path: \"path\" is missing: a path such as \"/api/*\"",
                    "6:59: error: workers.a.cache.rules[2].path: a path starts with a slash and may have a * at its end, got \"/a*b\"",
                    "6:67: error: workers.a.cache.rules[2].tll: unknown key \"tll\"; did you mean \"ttl\"?",
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\noutbound.allow = [\"https://x.com\"]\n",
                ["6:19: error: workers.a.outbound.allow[0]: \"https://x.com\" names no host"]
            ),
            // Slips.
            (
                "[workers.a]\nproduct = \"A\"\nvars = { API_KEY = \"abc\", TOKEN_TTL = 3600 }\n",
                [
                    "6:10: warning: workers.a.vars.API_KEY: \"API_KEY\" looks like a secret; variables are visible in versions and logs"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\n[workers.a.vars]\nX = 1\ncrons = [\"* * * * *\"]\n",
                [
                    "8:1: warning: workers.a.vars.crons: \"crons\" is a variable here: a key belongs to the last [table] header above it"
                ]
            ),
            (
                "[workers.a]\nproduct = \"A\"\nservices = [{ binding = \"B\", worker = \"b\" }]\n[workers.b]\nproduct = \"B\"\nservices = [{ binding = \"A\", worker = \"a\" }]\n",
                ["9:25: warning: workers.b.A: service bindings form a circle: a → b → a"]
            ),
        ] as [(String, [String])])
    func `names place, path and remedy`(_ workers: String, _ expected: [String]) {
        #expect(Example.findings(workers) == expected)
    }

    @Test func `probe 7: two bindings of one name, with both kinds and places`() {
        #expect(
            Example.findings(
                "[workers.a]\nproduct = \"A\"\nkv = [{ binding = \"DB\", resource = \"x\" }]\nd1 = [{ binding = \"DB\", resource = \"y\" }]\nsecrets = [\"S\"]\nvars = { S = 1 }\n"
            ) == [
                "7:19: error: workers.a.DB: worker \"a\" has two things named \"DB\": a KV namespace (wrangler-like.toml:6:19) and a D1 database (wrangler-like.toml:7:19)",
                "9:10: error: workers.a.S: worker \"a\" has two things named \"S\": a secret (wrangler-like.toml:8:12) and a variable (wrangler-like.toml:9:10)",
            ])
    }

    @Test func `probe 8: all errors of all files in one run, by file and line`() {
        let shape = Example.shape("[workers.a]\nproduct = 1\nkv = 2\nlimits = { cpu = 3 }\n")
        let diagnostics = Example.project(shape: shape, dev: "cache_ttl = 300\nlog = { levle = \"info\" }\n")
            .load(environment: "dev").diagnostics
        #expect(
            diagnostics.map { "\($0.location?.description ?? "-") \($0.path)" } == [
                "environments/dev.toml:1:13 cache_ttl", "environments/dev.toml:2:9 log.levle",
                "wrangler-like.toml:5:11 workers.a.product", "wrangler-like.toml:6:6 workers.a.kv",
                "wrangler-like.toml:7:18 workers.a.limits.cpu",
            ])
    }

    @Test func `a syntax error in one file doesn't hide the errors of the other`() {
        let broken = Example.project(shape: "format = \n", dev: "cache_ttl = 300\n").load(environment: "dev")
        #expect(broken.configuration == nil)
        #expect(broken.diagnostics.map(\.code) == [.wrongType, .syntax])
        let other = Example.project(dev: "[x\n").load(environment: "dev")
        #expect(other.configuration == nil)
        #expect(other.diagnostics.map(\.code) == [.syntax])
    }

    @Test func `probe 19: a slip in any environment's file is found, whatever is deployed`() {
        let project = Example.project(
            production:
                "domain = \"x.com\"\nlisten = [\"0.0.0.0:80\"]\n[workers.auth-servce]\nenabled = true\n")
        #expect(project.load(environment: "staging").diagnostics.isEmpty)
        #expect(
            project.checkAll().map(\.description) == [
                "environments/production.toml:3:10: error: workers.auth-servce: unknown worker \"auth-servce\"; did you mean \"auth-service\"?"
            ])
    }

    @Test func `probe 20: a duration needs a unit`() {
        let diagnostics = Example.project(dev: "cache_ttl = 300\n").load(environment: "dev").diagnostics
        #expect(
            diagnostics.map(\.description) == [
                "environments/dev.toml:1:13: error: cache_ttl: a duration needs a unit, got 300"
            ])
        #expect(diagnostics.first?.fix == "cache_ttl = \"300s\", or ms, m, h, d")
    }

    @Test func `probe 21: a missing domain is reported with its first use`() {
        let diagnostics = Example.project(staging: "listen = [\"0.0.0.0:80\"]\n").load(environment: "staging")
            .diagnostics
        #expect(
            diagnostics.map(\.description) == [
                "environments/staging.toml:1:1: error: domain: \"domain\" is missing in staging; {domain} is used first at wrangler-like.toml:10:11, in \"{domain}/api/*\""
            ])
    }

    @Test func `probe 4: an unknown key is an error, with lenience a warning`() {
        let project = Example.project(shape: Example.shape("foo = 1\n"), staging: nil, production: nil)
        let strict = project.load(environment: "dev")
        #expect(strict.configuration == nil)
        #expect(
            strict.diagnostics.map(\.description) == [
                "wrangler-like.toml:4:1: error: foo: unknown key \"foo\""
            ])
        let lenient = project.load(environment: "dev", .init(isLenient: true))
        #expect(lenient.configuration != nil)
        #expect(lenient.diagnostics.map(\.severity) == [.warning])
    }

    @Test(arguments: [
        ("2026–08–01", "\"2026–08–01\" has an en dash or em dash where a date needs a hyphen"),
        ("2026-8-1", "expected a date such as \"2026-08-01\", got \"2026-8-1\""),
        ("2026-02-30", "expected a date such as \"2026-08-01\", got \"2026-02-30\""),
        ("2026-12-01", "2026-12-01 is in the future; today is 2026-11-21"),
    ])
    func `probe 6: a compatibility date is a real date of the past`(_ date: String, _ message: String) {
        let shape = "format = 1\ntenant = \"t\"\ncompatibility_date = \"\(date)\"\n"
        let diagnostics = Example.project(shape: shape, staging: nil, production: nil)
            .load(environment: "dev", .init(today: CivilDate(year: 2026, month: 11, day: 21))).diagnostics
        #expect(
            diagnostics.map(\.description) == [
                "wrangler-like.toml:3:22: error: compatibility_date: \(message)"
            ])
    }

    @Test func `a missing compatibility date is a warning`() {
        let diagnostics = Example.project(shape: "tenant = \"t\"\n", staging: nil, production: nil).load(
            environment: "dev"
        ).diagnostics
        #expect(diagnostics.map(\.severity) == [.warning])
        #expect(diagnostics.first?.fix == "compatibility_date = \"2026-04-07\"")
    }

    @Test(arguments: [
        ("deploy.steps = [50, 25, 100]", "1:21: error: deploy.steps[1]: steps must rise: 25 follows 50"),
        ("deploy.steps = [5, 50]", "1:20: error: deploy.steps: steps must end in 100"),
        ("deploy.steps = []", "1:16: error: deploy.steps: steps must end in 100"),
        ("deploy.steps = [0, 100]", "1:17: error: deploy.steps[0]: expected integer 1…100, got 0"),
        (
            "deploy.affinity = \"header\"",
            "1:19: error: deploy.affinity: expected \"cookie:NAME\", \"ip\" or \"none\", got \"header\""
        ),
        (
            "deploy.promote_from = \"stagin\"",
            "1:23: error: deploy.promote_from: there is no environment \"stagin\"; did you mean \"staging\"?"
        ),
        ("listen = [\"8080\"]", "1:11: error: listen[0]: expected address:port, got \"8080\""),
        ("listen = []", "1:10: error: listen: at least one address is needed"),
        (
            "trusted_proxies = [\"10.0.0.0/33\"]",
            "1:20: error: trusted_proxies[0]: expected an address or a range, got \"10.0.0.0/33\""
        ),
        (
            "log.level = \"warn\"",
            "1:13: error: log.level: expected one of \"trace\", \"debug\", \"info\", \"notice\", \"warning\", \"error\", got \"warn\""
        ),
        ("domain = \"https://x.com\"", "1:10: error: domain: expected a host name, got \"https://x.com\""),
        ("tenant = \"x\"", "1:1: error: tenant: unknown key \"tenant\""),
        ("routes = []", "1:1: error: routes: unknown key \"routes\""),
        (
            "s3 = { domain = \"x.test\" }",
            "1:6: error: s3.listen: \"listen\" is missing: required, such as listen = [\"0.0.0.0:9000\"]"
        ),
        ("s3 = { listen = [\"9000\"] }", "1:18: error: s3.listen[0]: expected address:port, got \"9000\""),
        (
            "s3 = { listen = [\"127.0.0.1:9000\"], tls = true }", "1:43: error: s3.tls: there are no certificates"
        ),
        (
            "s3 = { listen = [\"127.0.0.1:9000\"], domain = \"a/b\" }", "1:46: error: s3.domain: expected a host name"
        ),
        ("tls = { certificate = \"c\" }", "1:7: error: tls.key: \"key\" is missing: a PEM file"),
        (
            "tls = { certificate = \"c\", key = \"k\", redirect = true }",
            "1:50: error: tls.redirect: all addresses of \"listen\" are for https: there is nothing to redirect"
        ),
        (
            "tls = { certificate = \"c\", key = \"k\", certificates = [{ key = \"k\" }] }",
            "1:55: error: tls.certificates[0].certificate: \"certificate\" is missing: a PEM file"
        ),
        (
            "tls = { certificate = \"c\", key = \"k\", listen = [\"x\"] }",
            "1:49: error: tls.listen[0]: expected address:port, got \"x\""
        ),
        (
            "tls = { certificate = \"c\", key = \"k\", keys = 1 }",
            "1:39: error: tls.keys: unknown key \"keys\"; did you mean \"key\"?"
        ),
        (
            "hooks.pre_rollout = { timeout = \"1s\" }",
            "1:21: error: hooks.pre_rollout.command: \"command\" is missing: a hook is a command or a URL"
        ),
        (
            "[workers.api-gateway]\nratelimits.PER_UP = { limit = 1 }",
            "2:12: error: workers.api-gateway.ratelimits.PER_UP: worker \"api-gateway\" has no rate limit \"PER_UP\"; did you mean \"PER_IP\"?"
        ),
        (
            "[workers.api-gateway]\nratelimits = []",
            "2:1: error: workers.api-gateway.ratelimits: an environment can't replace a list of bindings"
        ),
        (
            "[workers.api-gateway]\nratelimits.PER_IP = { period = 10 }",
            "2:23: error: workers.api-gateway.ratelimits.PER_IP.period: \"period\" of a rate limit is shape only: an environment can't change it"
        ),
        ("[workers.api-gateway]\nfoo = 1", "2:1: error: workers.api-gateway.foo: unknown key \"foo\""),
        ("[defaults]\ncrons = []", "2:1: error: defaults.crons: \"crons\" can't be a default"),
        (
            "[defaults.isolates]\nmax = \"4\"",
            "2:7: error: defaults.isolates.max: expected integer 1…256, got \"4\""
        ),
    ])
    func `checks an environment's values`(_ dev: String, _ expected: String) {
        let diagnostics = Example.project(dev: dev).load(environment: "dev").diagnostics
        #expect(
            diagnostics.map { $0.description.replacing("environments/dev.toml:", with: "") } == [expected])
    }

    @Test(arguments: [
        ("ratelimits.PER_IP = { limit = 5, key = \"ip\", namespace = \"n\" }", ["2:34 key", "2:46 namespace"]),
        ("queues.consume.events = { type = \"http_pull\", timeout = \"1s\" }", ["2:27 type"]),
        ("queues.consume.events = { dead_letter = \"x\", timeout = \"1s\" }", ["2:27 dead_letter"]),
        ("queues.produce.EVENTS = { queue = \"x\", delivery_delay = \"1s\" }", ["2:27 queue"]),
    ])
    func `an environment can't set what is shape only, also where the shape doesn't say it`(
        _ line: String, _ expected: [String]
    ) {
        let shape = Example.shape(
            """
            [workers.a]
            product = "A"
            ratelimits = [{ binding = "PER_IP", limit = 1, period = 60 }]
            queues.consume = [{ queue = "events" }]
            queues.produce = [{ binding = "EVENTS", queue = "events" }]
            """)
        let found = Example.project(shape: shape, dev: "[workers.a]\n\(line)\n").load(environment: "dev").diagnostics
        #expect(
            found.filter { $0.code == .notAllowedHere }.map {
                "\($0.location?.line ?? 0):\($0.location?.column ?? 0) \($0.path.split(separator: ".").last ?? "")"
            } == expected)
    }

    @Test(arguments: [
        ("[queues.big_ones]\n", "4:9: error: queues.big_ones: \"big_ones\" is no name for a queue"),
        (
            "[workers.a]\nproduct = \"A\"\nqueues.produce = [{ binding = \"Q\", queue = \"a_b\" }]\n",
            "6:44: error: workers.a.queues.produce.Q.queue: \"a_b\" is no name for a queue"
        ),
        (
            "[workers.a]\nproduct = \"A\"\nqueues.consume = [{ queue = \"a_b\" }]\n",
            "6:29: error: workers.a.queues.consume.a_b.queue: \"a_b\" is no name for a queue"
        ),
        (
            "[workers.a]\nproduct = \"A\"\nqueues.consume = [{ queue = \"q\", dead_letter = \"q_dead\" }]\n[queues.q]\n",
            "6:48: error: workers.a.queues.consume.q.dead_letter: \"q_dead\" is no name for a queue"
        ),
    ])
    func `a queue's name is one that the store takes`(_ text: String, _ expected: String) {
        #expect(Example.findings(text) == [expected])
    }

    @Test(arguments: ["artifacts", "tenants", "lock", "format"])
    func `a tenant's name is none that the state directory uses`(_ name: String) {
        let shape = "tenant = \"\(name)\"\ncompatibility_date = \"2026-08-01\"\n"
        let found = Example.project(shape: shape, staging: nil, production: nil).load(environment: "dev").diagnostics
        #expect(
            found.map(\.description) == [
                "wrangler-like.toml:1:10: error: tenant: \"\(name)\" is no name for a tenant: the node keeps things of its own under it"
            ])
    }

    @Test func `dev is checked with or without a file of its own`() {
        let shape = Example.shape("[workers.a]\nproduct = \"A\"\n")
        let project = Example.project(shape: shape, production: nil)
        #expect(project.checkAll(.init(sets: ["log.level=nonsense"])).map(\.path) == ["log.level"])
    }

    @Test func `a wrong value of the shape is found even where an environment replaces it`() {
        let shape = Example.shape("[workers.a]\nproduct = \"A\"\nisolates = { max = 999 }\n")
        let project = Example.project(
            shape: shape, dev: "[workers.a]\nisolates = { max = 3 }\n", staging: nil, production: nil)
        #expect(project.load(environment: "dev").diagnostics.map(\.path) == ["workers.a.isolates.max"])
    }

    @Test func `promotion in a circle is found`() {
        let project = Example.project(staging: Example.staging + "\ndeploy.promote_from = \"production\"\n")
        #expect(
            project.load(environment: "production").diagnostics.map(\.message) == [
                "promotion goes in a circle: production → staging → production"
            ])
    }

    @Test func `two environments that listen at one address own no host together`() {
        let same = Example.production.replacing(
            "domain = \"mustbeviral.example\"", with: "domain = \"staging.mustbeviral.example\"")
        let elsewhere = Example.project(production: same)
        #expect(elsewhere.checkAll().isEmpty)
        let together = Example.project(production: same.replacing("0.0.0.0:8080", with: "0.0.0.0:8081"))
        #expect(
            together.checkAll().map(\.message) == [
                "production and staging both own \"api.staging.mustbeviral.example\", \"staging.mustbeviral.example\" at 0.0.0.0:8081"
            ])
    }

    @Test func `the sum of what isolates may use is held against the node's memory`() {
        let (configuration, diagnostics) = Example.project().load(
            environment: "production", .init(nodeMemoryByteCount: 1 << 30))
        #expect(configuration != nil)
        #expect(
            diagnostics.map(\.description) == [
                "environments/production.toml:18:20: warning: workers.api-gateway.isolates.min: the isolates that always run may use 1152 MiB together; this node has 1024 MiB"
            ])
    }

    @Test func `--set works in dev alone, and must be TOML`() {
        #expect(
            Example.project().load(environment: "staging", .init(sets: ["log.level=debug"])).diagnostics.map(
                \.message) == ["--set works in dev only"])
        #expect(
            Example.findings("", sets: ["log.level"]) == [
                "--set:1:10: error: : expected \"=\" after the key log.level, found the end of the file"
            ])
        #expect(
            Example.findings("", sets: ["crons=[]"]) == ["--set:1:1: error: crons: unknown key \"crons\""])
    }

    @Test func `an unknown environment names those there are`() {
        let diagnostics = Example.project().load(environment: "prodution").diagnostics
        #expect(
            diagnostics.first?.message
                == "there is no environment \"prodution\": environments/prodution.toml does not exist; did you mean \"production\"?"
        )
    }

    @Test func `the built-in values of every environment are sound`() {
        for name in ["dev", "staging", "production"] {
            let file = name == "dev" ? "" : "domain = \"x.com\"\nlisten = [\"0.0.0.0:80\"]\n"
            let shape = Example.shape("[workers.a]\nproduct = \"A\"\n")
            let project = ProjectConfiguration(
                shape: SourceText(name: "wrangler-like.toml", text: shape),
                environments: [name: SourceText(name: "environments/\(name).toml", text: file)])
            #expect(project.load(environment: name).diagnostics.rendered == "")
        }
    }
}
