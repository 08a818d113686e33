import Foundation
import Testing

@testable import Configuration

@Suite struct `Configuration loader` {
    /// A fresh folder with the given files.
    private func project(_ files: [String: String], _ body: (ConfigurationLoader) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "edge-configuration-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, text) in files {
            let url = folder.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try body(ConfigurationLoader(directory: folder.path))
    }

    private static let shape = Example.shape(
        "[workers.api]\nproduct = \"A\"\nd1 = [{ binding = \"DB\", resource = \"d\", migrations = \"migrations/d\" }]\nsecrets = [\"KEY\"]\n"
    )

    @Test func `reads a project from its folder`() throws {
        try project([
            "wrangler-like.toml": Self.shape, "environments/dev.toml": "listen = [\"127.0.0.1:0\"]\n",
            "migrations/d/0001_a.sql": "", "migrations/d/0002_b.sql": "", "migrations/d/README.md": "",
            ".dev.vars": "KEY=k\n",
        ]) { loader in
            let (configuration, diagnostics) = loader.load(environment: "dev")
            #expect(diagnostics.rendered == "")
            #expect(configuration?.listen == [ListenAddress(host: "127.0.0.1", port: 0)])
            #expect(loader.checkAll().isEmpty)
            let worker = try #require(configuration?.worker("api"))
            let local = loader.localVariables(worker: "api", environment: "dev").resolve(worker)
            #expect(local.secrets.map(\.value) == ["k"])
            #expect(local.warning == nil)
        }
    }

    @Test func `is found from any folder below, ours before wrangler's`() throws {
        try project([
            "wrangler-like.toml": Self.shape, "wrangler.toml": "", "sub/deep/x": "",
            "other/wrangler.jsonc":
                "{ \"name\": \"a\", \"main\": \"A\", \"compatibility_date\": \"2026-08-01\" }",
            "other/wrangler.toml": "",
        ]) { loader in
            let below = ConfigurationLoader.find(from: loader.directory + "/sub/deep")
            #expect(below?.directory == loader.directory)
            #expect(below?.file == "wrangler-like.toml")
            let other = try #require(ConfigurationLoader.find(from: loader.directory + "/other"))
            #expect(other.file == "wrangler.jsonc")
            let (configuration, _) = ConfigurationLoader(directory: other.directory).loadWrangler(
                file: other.file)
            #expect(configuration?.workers.first?.name == "a")
        }
    }

    @Test func `says what is missing`() throws {
        try project([:]) { loader in
            #expect(loader.load(environment: "dev").diagnostics.map(\.code) == [.unreadableFile])
            #expect(loader.checkAll().map(\.code) == [.unreadableFile])
        }
        try project(["wrangler-like.toml": Self.shape]) { loader in
            #expect(
                loader.load(environment: "dev").diagnostics.map(\.message) == [
                    "there is no folder \"migrations/d\""
                ])
            #expect(loader.load(environment: "staging").diagnostics.first?.code == .environment)
        }
    }

    @Test(arguments: [
        (["0001_a.sql", "0003_c.sql"], "migrations/d: number 2 is missing before \"0003_c.sql\""),
        (
            ["0001_a.sql", "0001_b.sql"],
            "migrations/d: \"0001_a.sql\" and \"0001_b.sql\" have the same number"
        ),
        (["users.sql"], "migrations/d: \"users.sql\" doesn't begin with a number, such as 0001_"),
    ])
    func `migrations are numbered without gaps`(_ names: [String], _ message: String) throws {
        var files = ["wrangler-like.toml": Self.shape]
        for name in names { files["migrations/d/\(name)"] = "" }
        try project(files) { loader in
            let (configuration, diagnostics) = loader.load(environment: "dev")
            #expect(configuration == nil)
            #expect(diagnostics.map(\.message) == [message])
        }
    }

    @Test func `migrations are looked at even where something else is wrong`() throws {
        let shape = Self.shape + "foo = 1\n"
        try project(["wrangler-like.toml": shape, "environments/staging.toml": Example.staging]) { loader in
            let expected = ["there is no folder \"migrations/d\"", "unknown key \"foo\""]
            #expect(loader.load(environment: "dev").diagnostics.map(\.message) == expected)
            #expect(loader.checkAll().map(\.message) == expected)
        }
    }

    @Test(arguments: [
        ("*.sql", ["0001_a.sql", "0002_b.sql"]), ("*/migration.sql", ["0001_x/migration.sql", "0002_y/migration.sql"]),
        ("000?_*.up", ["0001_c.up"]), ("./*.sql", ["0001_a.sql", "0002_b.sql"]), ("*.up", ["0001_c.up"]),
        ("nothing", []),
    ])
    func `a pattern takes files of the folder`(_ pattern: String, _ expected: [String]) throws {
        let names = [
            "0001_a.sql", "0002_b.sql", "0001_x/migration.sql", "0002_y/migration.sql", "0002_y/down.sql", "0001_c.up",
        ]
        try project(Dictionary(uniqueKeysWithValues: names.map { ("m/\($0)", "") })) { loader in
            let migrations = D1Migrations(directory: "m", table: "d1_migrations", pattern: pattern)
            #expect(loader.migrationFiles(migrations) == expected)
            #expect(loader.migrationFiles(D1Migrations(directory: "n", table: "t", pattern: pattern)) == nil)
        }
    }

    @Test(arguments: [
        ("tls = { certificate = \"c\", key = \"k\" }", nil), ("ratelimit_global = 10", nil),
        ("s3 = { listen = [\"127.0.0.1:9000\"], domain = \"s3.test\", strict = true }", nil),
        ("ratelimit_client = { limit = 10, period = \"1h\" }", nil), ("monitoring = \"basic\"", nil),
        ("r2 = { write_rate_limit = true }", nil), ("cache = { disk = \"2MiB\", memory = \"1MiB\" }", nil),
        ("ratelimit_global = 0", nil), ("retention.queue = \"1d\"", nil), ("retention.logs = \"1d\"", "warning retention.logs"),
        ("kv = { write_rate_limit = true, bytes_max = \"1GiB\", puts_per_day = 1000 }", nil),
        ("preview_urls = true", nil), ("cache_ttl = \"1s\"", nil),
        ("websocket_idle_timeout = \"1s\"", nil),
        ("deploy = { bake = \"1s\", monitor = \"1s\" }", nil), ("keep_warm = \"1s\"", nil),
        ("hooks.rollback = \"true\"", nil), ("durable_objects.on_deploy = \"keep\"", nil),
        ("workers.api.cache.enabled = true", nil),
        ("defaults.observability = { sampling = 0.5, logs = true }", "warning workers.api.observability"),
        ("workers.api.isolates.max = 3", nil),
    ])
    func `what this version doesn't do is said`(_ line: String, _ expected: String?) throws {
        try project([
            "wrangler-like.toml": Self.shape, "migrations/d/0001_a.sql": "", "environments/dev.toml": line + "\n",
        ]) { loader in
            let found = loader.load(environment: "dev").diagnostics
            #expect(found.map { "\($0.severity) \($0.path)" } == [expected].compactMap { $0 })
            #expect(found.allSatisfy { $0.location?.file == "environments/dev.toml" && $0.location?.line == 1 })
            #expect(loader.checkAll() == found)
        }
    }

    @Test func `what the shape asks for and this version doesn't do is said once`() throws {
        let shape = Example.shape(
            """
            [defaults]
            cache = { enabled = true }
            [workers.a]
            product = "A"
            smoke = [{ get = "/" }]
            tail = ["b"]
            ai = { binding = "AI" }
            [workers.b]
            product = "B"
            assets = { directory = "public" }
            services = [{ binding = "A", worker = "a", entrypoint = "E" }]
            """)
        try project(["wrangler-like.toml": shape, "environments/staging.toml": Example.staging]) { loader in
            #expect(
                loader.checkAll().map { "\($0.location?.line ?? 0) \($0.severity) \($0.path)" } == [
                    "9 warning workers.a.tail", "10 error workers.a.AI",
                ])
        }
    }

    @Test func `mistakes in local values are found, in dev`() throws {
        try project([
            "wrangler-like.toml": Self.shape, "migrations/d/0001_a.sql": "", "environments/staging.toml": Example.staging,
            ".dev.vars": "KEY=k\nnonsense\n",
        ]) { loader in
            #expect(
                loader.load(environment: "dev").diagnostics.map(\.description) == [
                    ".dev.vars:2:1: error: expected KEY=value"
                ])
            #expect(loader.checkAll().map(\.description) == [".dev.vars:2:1: error: expected KEY=value"])
            #expect(loader.load(environment: "staging").diagnostics.isEmpty)
        }
    }

    @Test func `the platform's own files are sound in every environment`() throws {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        let (project, failures) = ConfigurationLoader(directory: root.path).read()
        #expect(failures.isEmpty)
        let platform = try #require(project)
        let diagnostics = platform.checkAll()
        #expect(diagnostics.rendered == "")
        #expect(ConfigurationLoader(directory: root.path).checkAll().rendered == "")
        #expect(Set(platform.environments.keys).isSuperset(of: ["dev", "staging", "production"]))
        let dev = try #require(platform.load(environment: "dev").configuration)
        #expect(
            Set(dev.workers.map(\.name)).isSuperset(of: [
                "api-gateway", "auth-service", "user-service", "content-service", "analytics-service",
            ]))
        #expect(dev.worker("analytics-service")?.consumers.first?.batchTimeout == .seconds(1))
        #expect(dev.worker("analytics-service")?.consumers.first?.batchCountMax == 100)
        let production = try #require(platform.load(environment: "production").configuration)
        #expect(production.worker("analytics-service")?.consumers.first?.batchTimeout == .seconds(5))
        #expect(production.worker("api-gateway")?.routes.map(\.pattern.text) == ["mustbeviral.example/api/*"])
    }
}
