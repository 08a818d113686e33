/// What an environment has when no file says otherwise: the weakest layer, written as a file is.
enum BuiltInValues {
    static let sourceName = "built-in"

    static func source(for kind: EnvironmentKind) -> SourceText {
        SourceText(name: sourceName, text: common + "\n" + own(kind))
    }

    private static let common = """
        trusted_proxies = []
        deploy_keys = []
        ratelimit_global = 0
        websocket_idle_timeout = "0s"
        durable_objects.hibernate_after = "10s"
        durable_objects.evict_after = "70s"
        durable_objects.on_deploy = "keep"
        durable_objects.objects_per_isolate = 64
        durable_objects.isolates = 32
        durable_objects.time_travel = "30d"
        retention.queue = "4d"
        retention.analytics = "90d"
        drain.timeout = "30s"
        deploy.affinity = "cookie:__edge_slot"
        deploy.drain = "30s"
        deploy.drain_streams = "5m"
        deploy.drain_jobs = "15m"
        deploy.drain_websockets = "5m"
        deploy.switch_hold = "1s"
        deploy.lock_timeout = "5s"
        deploy.keep_releases = 100
        deploy.keep_backups = "7d"
        deploy.freeze = false
        deploy.resume = true
        defaults.isolates.concurrency = 64
        defaults.isolates.idle_timeout = "5m"
        defaults.limits.profile = "cloudflare-paid"
        defaults.observability.logs = true
        defaults.observability.traces = false
        defaults.cache = { enabled = false, cross_version = false }
        defaults.outbound = { allow = [], private = false }
        """

    private static func own(_ kind: EnvironmentKind) -> String {
        switch kind {
        case .dev:
            """
            domain = "localhost"
            listen = ["127.0.0.1:8787"]
            log = { level = "debug", format = "text" }
            monitoring = "full"
            error_pages = "trace"
            preview_urls = true
            cache_ttl = "0s"
            keep_warm = "1m"
            drain.delay = "0s"
            retention.logs = "1d"
            retention.time_travel = "1d"
            deploy.steps = [100]
            deploy.bake = "0s"
            deploy.monitor = "0s"
            deploy.smoke = "optional"
            deploy.backup = "bookmark"
            deploy.no_traffic = "promote"
            defaults.isolates.min = 0
            defaults.isolates.max = 1
            defaults.observability.sampling = 1.0
            """
        case .staging:
            """
            log = { level = "info", format = "json" }
            monitoring = "full"
            error_pages = "plain"
            preview_urls = true
            cache_ttl = "60s"
            keep_warm = "5m"
            drain.delay = "5s"
            retention.logs = "7d"
            retention.time_travel = "7d"
            deploy.steps = [100]
            deploy.bake = "30s"
            deploy.monitor = "1m"
            deploy.smoke = "required"
            deploy.backup = "bookmark"
            deploy.no_traffic = "promote"
            defaults.isolates.min = 1
            defaults.isolates.max = 4
            defaults.observability.sampling = 1.0
            """
        case .production:
            """
            log = { level = "info", format = "json" }
            monitoring = "full"
            error_pages = "plain"
            preview_urls = false
            cache_ttl = "5m"
            keep_warm = "10m"
            drain.delay = "5s"
            retention.logs = "30d"
            retention.time_travel = "30d"
            deploy.steps = [5, 25, 50, 100]
            deploy.bake = "2m"
            deploy.monitor = "5m"
            deploy.smoke = "required"
            deploy.backup = "full"
            deploy.no_traffic = "pause"
            defaults.isolates.min = 2
            defaults.isolates.max = 8
            defaults.observability.sampling = 0.1
            """
        }
    }
}
