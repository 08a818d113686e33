// swift-tools-version: 6.2
import PackageDescription

// Every room is one target. The dependency lists below are the arrows of docs/architecture.md;
// `make check` refuses an import that they do not declare.

/// The settings every Swift target shares: pointers are marked `unsafe`; in CI, warnings are errors.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: Context.environment["CI"] == nil ? .warning : .error),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
]

func room(_ name: String, _ path: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [])
    -> Target
{
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(path)", exclude: exclude,
        swiftSettings: strict)
}

func worker(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .executableTarget(
        name: name, dependencies: ["Workers", "Interfaces"] + dependencies,
        path: "Sources/Handlers/\(name)", swiftSettings: strict)
}

func tests(_ name: String, _ path: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, path: "Tests/\(path)", swiftSettings: strict)
}

/// A C library of Debian: a module map, a shim header, nothing else.
func library(_ name: String, _ folder: String, apt packages: [String]) -> Target {
    .systemLibrary(
        name: name, path: "Sources/EdgeRuntime/System/\(folder)/\(name)",
        providers: [.apt(packages)])
}

let package = Package(
    name: "edge",
    products: [
        .executable(name: "edge", targets: ["edge"]),
        .library(name: "Workers", targets: ["Workers"]),
    ],
    targets: [
        // System: the kernel and the C libraries.
        .target(name: "CLinux", path: "Sources/EdgeRuntime/System/CLinux"),
        library("CSQLite", "SQLite", apt: ["libsqlite3-dev"]),
        library("CLMDB", "LMDB", apt: ["liblmdb-dev"]),
        library("COpenSSL", "OpenSSL", apt: ["libssl-dev"]),
        library("CCurl", "Curl", apt: ["libcurl4-openssl-dev"]),
        library("CCrypt", "Crypt", apt: ["libcrypt-dev"]),
        library("CSeccomp", "Seccomp", apt: ["libseccomp-dev"]),
        room(
            "System", "EdgeRuntime/System", ["CLinux"],
            exclude: ["CLinux", "SQLite", "LMDB", "OpenSSL", "Curl", "Crypt", "Seccomp"]),
        room("SQLite", "EdgeRuntime/System/SQLite", ["CSQLite"], exclude: ["CSQLite"]),
        room("LMDB", "EdgeRuntime/System/LMDB", ["CLMDB", "System"], exclude: ["CLMDB"]),
        room("OpenSSL", "EdgeRuntime/System/OpenSSL", ["COpenSSL"], exclude: ["COpenSSL"]),
        room("Curl", "EdgeRuntime/System/Curl", ["CCurl"], exclude: ["CCurl"]),
        room("Crypt", "EdgeRuntime/System/Crypt", ["CCrypt"], exclude: ["CCrypt"]),
        room("Seccomp", "EdgeRuntime/System/Seccomp", ["CSeccomp"], exclude: ["CSeccomp"]),

        // The runtime.
        room("Wire", "EdgeRuntime/Wire"),
        room("HTTP", "EdgeRuntime/HTTP"),
        room("Configuration", "EdgeRuntime/Configuration", ["HTTP"]),
        room("Observability", "EdgeRuntime/Observability", ["System"]),
        room("Isolates", "EdgeRuntime/Isolates", ["System", "CLinux", "Seccomp", "Wire", "Observability"]),
        room(
            "Host", "EdgeRuntime/Host",
            [
                "System", "Wire", "HTTP", "Isolates", "Observability", "Interfaces", "Curl",
                "Stores", "StoresKV", "StoresD1", "StoresR2", "StoresQueues",
            ]),
        room("Workers", "EdgeRuntime/Workers", ["Interfaces", "HTTP", "Wire", "System"]),
        room("WorkersCrypto", "EdgeRuntime/WorkersCrypto", ["Workers", "OpenSSL", "Crypt"]),

        // Bindings.
        room("Interfaces", "Bindings/Interfaces", ["Wire", "HTTP"]),
        room("Stores", "Bindings/Stores/Service", ["Interfaces", "Observability", "System"]),
        room(
            "StoresKV", "Bindings/Stores/KV",
            ["Stores", "Interfaces", "Wire", "LMDB", "Observability", "System"]),
        room("StoresD1", "Bindings/Stores/D1", ["Stores", "Interfaces", "Wire", "SQLite", "System"]),
        room(
            "StoresR2", "Bindings/Stores/R2",
            ["Stores", "Interfaces", "Wire", "LMDB", "OpenSSL", "System"]),
        room(
            "StoresQueues", "Bindings/Stores/Queues",
            ["Stores", "Interfaces", "Wire", "LMDB", "Observability", "System"]),

        // The platform.
        room("Platform", "Handlers/Platform", ["Workers", "WorkersCrypto", "Interfaces"]),
        worker("ApiGateway", ["Platform"]),
        worker("AuthService", ["Platform", "WorkersCrypto"]),
        worker("UserService", ["Platform"]),
        worker("ContentService", ["Platform"]),
        worker("AnalyticsService", ["Platform"]),

        // Deploy.
        room("Releases", "Deploy/Releases", ["Host", "Configuration", "OpenSSL", "SQLite", "System"]),
        room("ControlPlane", "Deploy/ControlPlane", ["Releases", "Host", "Observability"]),
        .executableTarget(
            name: "edge",
            dependencies: ["ControlPlane", "Releases", "Host", "Isolates", "Configuration", "Observability", "System"],
            path: "Sources/Deploy/CLI", swiftSettings: strict),

        // Tests mirror the sources.
        tests("SystemTests", "EdgeRuntime/System", ["System", "SQLite", "LMDB", "OpenSSL"]),
        tests("WireTests", "EdgeRuntime/Wire", ["Wire"]),
        tests("HTTPTests", "EdgeRuntime/HTTP", ["HTTP", "Wire"]),
        tests("ConfigurationTests", "EdgeRuntime/Configuration", ["Configuration", "HTTP"]),
        tests(
            "IsolatesTests", "EdgeRuntime/Isolates", ["Isolates", "System", "Wire", "Observability"]),
        tests("WorkersTests", "EdgeRuntime/Workers", ["Workers", "WorkersCrypto", "Interfaces", "Wire", "HTTP"]),
        tests(
            "StoresKVTests", "Bindings/KV",
            ["StoresKV", "Stores", "Interfaces", "Wire", "System", "LMDB", "Observability"]),
        tests("StoresD1Tests", "Bindings/D1", ["StoresD1", "Stores", "Interfaces", "Wire", "System", "SQLite"]),
        tests("StoresR2Tests", "Bindings/R2", ["StoresR2", "Stores", "Interfaces", "Wire", "System"]),
        tests(
            "StoresQueuesTests", "Bindings/Queues",
            ["StoresQueues", "Stores", "Interfaces", "Wire", "System", "LMDB", "Observability"]),
    ]
)
