import Configuration

/// The examples of the format's description.
enum Example {
    static let shape = #"""
        format = 1
        tenant = "must-be-viral"
        compatibility_date = "2026-08-01"
        [defaults]                                   # for every worker; a worker's own value replaces key by key
        limits = { cpu = "30s", memory = "128MiB", subrequests = 1000, wall = "100s" }
        isolates = { min = 1, max = 4, concurrency = 64, idle_timeout = "5m" }
        observability = { sampling = 1.0, logs = true, traces = false }
        [workers.api-gateway]
        product = "ApiGateway"                       # SwiftPM executable
        routes = ["{domain}/api/*", { host = "api.{domain}" }]   # {domain} comes from the environment; table = custom domain
        ratelimits = [{ binding = "PER_IP", key = "ip", limit = 100, period = 60 }]
        cache = { enabled = true, ttl = "60s" }
        services = [
          { binding = "AUTH", worker = "auth-service" },
          { binding = "CONTENT", worker = "content-service" },
          { binding = "ANALYTICS", worker = "analytics-service", entrypoint = "Ingest" },
          { binding = "REALTIME", worker = "websocket-service" },
        ]
        assets = { directory = "public", binding = "ASSETS", not_found = "single-page-application", run_worker_first = ["/api/*"] }
        smoke = [{ get = "/api/health", status = 200, within = "500ms" }]
        [workers.auth-service]
        product = "AuthService"
        d1 = [{ binding = "DB", resource = "auth", migrations = "migrations/auth" }]
        kv = [{ binding = "SESSIONS", resource = "sessions" }]
        secrets = ["JWT_KEY"]
        vars = { TOKEN_TTL = 3600 }
        [workers.content-service]
        product = "ContentService"
        d1 = [{ binding = "DB", resource = "content", migrations = "migrations/content" }]
        r2 = [{ binding = "MEDIA", resource = "media" }]
        queues.produce = [{ binding = "EVENTS", queue = "events" }]
        vectorize = [{ binding = "SIMILAR", resource = "content", dimensions = 384, metric = "cosine" }]
        crons = ["*/15 * * * *"]
        [workers.analytics-service]
        product = "AnalyticsService"
        queues.consume = [{ queue = "events", batch = 100, timeout = "5s", retries = 3, dead_letter = "events-dead", concurrency = 4 }]
        analytics = [{ binding = "METRICS", dataset = "metrics" }]
        [workers.websocket-service]
        product = "WebSocketService"
        routes = ["{domain}/ws/*"]
        durable_objects = [{ binding = "ROOMS", class = "Room" }]
        migrations = [{ tag = "v1", new_sqlite_classes = ["Room"] }]
        [queues.events]
        delivery_delay = "0s"
        retention = "4d"
        """#

    static let production = #"""
        format = 1
        domain = "mustbeviral.example"
        listen = ["0.0.0.0:8080"]
        trusted_proxies = ["10.0.0.0/8"]
        log = { level = "info", format = "json" }
        cache_ttl = "5m"                             # default of every [workers.*.cache].ttl
        preview_urls = false
        keep_warm = "10m"
        [deploy]
        steps = [5, 25, 50, 100]
        bake = "2m"
        monitor = "5m"
        affinity = "cookie:__edge_slot"
        no_traffic = "pause"
        backup = "full"
        promote_from = "staging"
        [workers.api-gateway]
        isolates = { min = 4, max = 16 }
        ratelimits.PER_IP = { limit = 600 }
        [workers.websocket-service]
        isolates = { min = 2, max = 8 }
        domains = ["ws.mustbeviral.example"]         # more custom domains
        [workers.content-service.vars]
        FEATURED = true
        """#

    static let staging = """
        domain = "staging.mustbeviral.example"
        listen = ["0.0.0.0:8081"]
        """

    static func project(
        shape: String = shape, dev: String? = nil, staging: String? = staging,
        production: String? = production
    ) -> ProjectConfiguration {
        var environments: [String: SourceText] = [:]
        for (name, text) in [("dev", dev), ("staging", staging), ("production", production)] {
            if let text { environments[name] = SourceText(name: "environments/\(name).toml", text: text) }
        }
        return ProjectConfiguration(
            shape: SourceText(name: "wrangler-like.toml", text: shape), environments: environments)
    }

    /// A small shape around the tables under test.
    static func shape(_ workers: String) -> String {
        "format = 1\ntenant = \"t\"\ncompatibility_date = \"2026-08-01\"\n" + workers
    }

    /// The findings of one small shape in dev, each as `line:column: path: message`.
    static func findings(_ workers: String, dev: String? = nil, sets: [String] = []) -> [String] {
        let project = project(shape: shape(workers), dev: dev, staging: nil, production: nil)
        return project.load(environment: "dev", .init(sets: sets)).diagnostics.map { diagnostic in
            "\(diagnostic.location.map { "\($0.file == "wrangler-like.toml" ? "" : $0.file + ":")\($0.line):\($0.column)" } ?? "-"): \(diagnostic.severity): \(diagnostic.path): \(diagnostic.message)"
        }
    }
}
