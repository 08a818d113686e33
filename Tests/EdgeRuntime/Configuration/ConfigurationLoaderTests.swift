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

    @Test func `the platform's own files are sound in every environment`() throws {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        let (project, failures) = ConfigurationLoader(directory: root.path).read()
        #expect(failures.isEmpty)
        let platform = try #require(project)
        let diagnostics = platform.checkAll()
        #expect(diagnostics.rendered == "")
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
