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
    // Optimised builds specialise and inline across rooms, and leave out the run-time checks for overlapping accesses
    // to classes' properties: together a third of the node's own time per request (its kernel time apart). Debug builds,
    // which all tests run on, keep the checks.
    .unsafeFlags(
        ["-cross-module-optimization", "-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

func room(_ name: String, _ path: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [])
    -> Target
{
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(path)", exclude: exclude,
        swiftSettings: strict)
}

func worker(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    .executableTarget(
        name: name, dependencies: ["Workers", "Interfaces"] + dependencies,
        path: "Sources/Handlers/\(name)", exclude: exclude, swiftSettings: strict)
}

func tests(_ name: String, _ path: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, path: "Tests/\(path)", exclude: exclude, swiftSettings: strict)
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
        library("CTLS", "TLS", apt: ["libssl-dev"]),
        library("CCurl", "Curl", apt: ["libcurl4-openssl-dev"]),
        library("CCrypt", "Crypt", apt: ["libcrypt-dev"]),
        library("CSeccomp", "Seccomp", apt: ["libseccomp-dev"]),
        library("CZlib", "Zlib", apt: ["zlib1g-dev"]),
        library("CBrotli", "Brotli", apt: ["libbrotli-dev"]),
        library("CExpat", "XML", apt: ["libexpat1-dev"]),
        library("CNghttp2", "HTTP2", apt: ["libnghttp2-dev"]),
        room(
            "System", "EdgeRuntime/System", ["CLinux"],
            exclude: [
                "CLinux", "SQLite", "LMDB", "OpenSSL", "TLS", "Curl", "Crypt", "Seccomp", "Zlib", "Brotli", "HTTP2", "XML",
            ]),
        room("SQLite", "EdgeRuntime/System/SQLite", ["CSQLite"], exclude: ["CSQLite"]),
        room("LMDB", "EdgeRuntime/System/LMDB", ["CLMDB", "System"], exclude: ["CLMDB"]),
        room("OpenSSL", "EdgeRuntime/System/OpenSSL", ["COpenSSL"], exclude: ["COpenSSL"]),
        room("TLS", "EdgeRuntime/System/TLS", ["CTLS", "System"], exclude: ["CTLS"]),
        room("Curl", "EdgeRuntime/System/Curl", ["CCurl", "System"], exclude: ["CCurl"]),
        room("Crypt", "EdgeRuntime/System/Crypt", ["CCrypt"], exclude: ["CCrypt"]),
        room("Seccomp", "EdgeRuntime/System/Seccomp", ["CSeccomp"], exclude: ["CSeccomp"]),
        room("Zlib", "EdgeRuntime/System/Zlib", ["CZlib", "System"], exclude: ["CZlib"]),
        room("Brotli", "EdgeRuntime/System/Brotli", ["CBrotli", "System"], exclude: ["CBrotli"]),
        room("HTTP2", "EdgeRuntime/System/HTTP2", ["CNghttp2"], exclude: ["CNghttp2"]),
        room("XML", "EdgeRuntime/System/XML", ["CExpat"], exclude: ["CExpat"]),

        // The runtime.
        room("Wire", "EdgeRuntime/Wire"),
        room("HTTP", "EdgeRuntime/HTTP", ["Wire"]),
        room("Assets", "EdgeRuntime/Assets", ["HTTP"]),
        room("Caching", "EdgeRuntime/Caching", ["HTTP", "Wire"]),
        room("Configuration", "EdgeRuntime/Configuration", ["HTTP", "System"]),
        room("Observability", "EdgeRuntime/Observability", ["System"]),
        room("Isolates", "EdgeRuntime/Isolates", ["System", "CLinux", "Seccomp", "Wire", "Observability"]),
        room(
            "Host", "EdgeRuntime/Host",
            [
                "System", "CLinux", "Wire", "HTTP", "Caching", "Isolates", "Observability", "Interfaces", "Curl",
                "Stores", "Assets", "TLS", "Zlib", "Brotli", "HTTP2", "OpenSSL",
            ]),
        room("Workers", "EdgeRuntime/Workers", ["Interfaces", "Caching", "HTTP", "Wire", "System"]),
        room("WorkersCrypto", "EdgeRuntime/WorkersCrypto", ["Workers", "OpenSSL", "Crypt"]),

        room(
            "DurableObjects", "EdgeRuntime/DurableObjects",
            ["Workers", "Interfaces", "TenantSQL", "SQLite", "OpenSSL", "System"]),

        // Bindings.
        room("Interfaces", "Bindings/Interfaces", ["Wire", "HTTP"]),
        room("TenantSQL", "Bindings/TenantSQL", ["SQLite", "System"]),
        room("Stores", "Bindings/Stores/Service", ["Interfaces", "Caching", "HTTP", "Observability", "System"]),
        room(
            "StoresCache", "Bindings/Stores/Cache",
            ["Stores", "Interfaces", "Caching", "HTTP", "Wire", "Observability", "System"]),
        room(
            "StoresKV", "Bindings/Stores/KV",
            ["Stores", "Interfaces", "Wire", "LMDB", "Zlib", "Observability", "System"]),
        room(
            "StoresD1", "Bindings/Stores/D1",
            ["TenantSQL", "Stores", "Interfaces", "Wire", "SQLite", "OpenSSL", "Observability", "System"]),
        room(
            "StoresR2", "Bindings/Stores/R2",
            ["Stores", "Interfaces", "HTTP", "Wire", "LMDB", "OpenSSL", "Observability", "System"]),
        room(
            "StoresQueues", "Bindings/Stores/Queues",
            ["Stores", "Interfaces", "Wire", "LMDB", "Observability", "System"]),

        // Wraps them as a network would, in dev and tests.
        room(
            "StoresSimulation", "Bindings/Stores/Simulation",
            [
                "Stores", "StoresKV", "StoresD1", "StoresR2", "StoresQueues", "Interfaces", "Observability", "System",
            ]),

        room("StoresRateLimits", "Bindings/Stores/RateLimits", ["Stores", "Interfaces", "Wire", "System"]),
        room("StoresAnalytics", "Bindings/Stores/Analytics", ["Stores", "Interfaces", "Wire", "Observability", "System"]),
        room("StoresObjects", "Bindings/Stores/Objects", ["Stores", "LMDB", "System"]),

        // The platform.
        room("Platform", "Handlers/Platform", ["Workers", "WorkersCrypto", "Interfaces"]),
        room("Collaboration", "Handlers/Collaboration"),
        worker("ApiGateway", ["Platform"]),
        worker("AuthService", ["Platform", "WorkersCrypto"]),
        worker("UserService", ["Platform"]),
        worker("ContentService", ["Platform"]),
        worker("AnalyticsService", ["Platform", "WorkersCrypto"]),
        worker("WebSocketService", ["Collaboration", "Platform", "DurableObjects"], exclude: ["Assets"]),

        // What README.md and docs/sdk.md show.
        .executableTarget(
            name: "Notes", dependencies: ["Workers"], path: "Examples/Notes", swiftSettings: strict),
        .target(
            name: "SDKExamples", dependencies: ["Workers", "WorkersCrypto"], path: "Tests/Support/SDKExamples",
            swiftSettings: strict),

        // Deploy.
        room(
            "Releases", "Deploy/Releases",
            [
                "Host", "Configuration", "Caching", "HTTP", "Interfaces", "Isolates", "Observability", "OpenSSL", "SQLite",
                "Stores", "StoresCache", "StoresKV", "StoresD1", "StoresR2", "StoresQueues", "StoresRateLimits",
                "StoresAnalytics", "StoresObjects", "StoresSimulation", "System", "Wire", "Assets", "Zlib", "Brotli",
            ]),
        room(
            "S3", "Deploy/S3",
            ["Host", "HTTP", "Interfaces", "Observability", "OpenSSL", "Stores", "StoresR2", "System", "XML"]),
        room(
            "ControlPlane", "Deploy/ControlPlane",
            [
                "Releases", "S3", "Host", "Caching", "Configuration", "HTTP", "Interfaces", "OpenSSL", "SQLite", "Stores",
                "StoresD1",
                "StoresKV",
                "StoresQueues", "StoresR2", "Observability", "System",
            ]),
        .executableTarget(
            name: "edge",
            dependencies: [
                "ControlPlane", "S3", "Releases", "Host", "HTTP", "Isolates", "Configuration", "Curl", "Observability",
                "OpenSSL",
                "System", "TLS",
            ],
            path: "Sources/Deploy/CLI", swiftSettings: strict),

        // The store rows of `make bench`: engines beside the raw libraries.
        .executableTarget(
            name: "StoreBenchmark",
            dependencies: [
                "CLMDB", "CSQLite", "Interfaces", "Observability", "Stores", "StoresKV", "StoresD1", "StoresR2",
                "StoresQueues", "System",
            ],
            path: "Benchmarks/StoreBenchmark", swiftSettings: strict),

        // Tests mirror the sources.
        .executableTarget(
            name: "HelloWorker", dependencies: ["Workers"], path: "Tests/Support/HelloWorker",
            swiftSettings: strict),
        .executableTarget(
            name: "StoreWorker", dependencies: ["Workers", "Interfaces"], path: "Tests/Support/StoreWorker",
            swiftSettings: strict),
        .executableTarget(
            name: "CutoverWorker", dependencies: ["Workers", "Interfaces"], path: "Tests/Support/CutoverWorker",
            swiftSettings: strict),
        .executableTarget(
            name: "ObjectWorker", dependencies: ["DurableObjects", "Workers", "SQLite"], path: "Tests/Support/ObjectWorker",
            swiftSettings: strict),
        .executableTarget(
            name: "RoomWorker", dependencies: ["DurableObjects", "Workers"], path: "Tests/Support/RoomWorker",
            swiftSettings: strict),
        .executableTarget(
            name: "HostileWorker", dependencies: ["Workers"], path: "Tests/Support/HostileWorker",
            swiftSettings: strict),
        tests(
            "SystemTests", "EdgeRuntime/System",
            ["System", "SQLite", "LMDB", "OpenSSL", "TLS", "CTLS", "Zlib", "Brotli", "HTTP2", "XML"]),
        tests(
            "ControlPlaneTests", "Deploy/ControlPlane",
            [
                "ControlPlane", "HTTP", "Host", "Interfaces", "Observability", "OpenSSL", "Releases", "SQLite", "Stores",
                "StoresKV", "System",
            ]),
        tests(
            "DurableObjectsTests", "EdgeRuntime/DurableObjects",
            ["DurableObjects", "TenantSQL", "Interfaces", "SQLite", "System"]),
        tests("InterfacesValuesTests", "Bindings/InterfacesValues", ["Interfaces"]),
        tests("S3Tests", "Deploy/S3", ["S3", "HTTP"]),
        tests("AssetsTests", "EdgeRuntime/Assets", ["Assets", "HTTP"]),
        tests("WireTests", "EdgeRuntime/Wire", ["Wire"]),
        tests("HTTPTests", "EdgeRuntime/HTTP", ["HTTP", "Wire"]),
        tests("ConfigurationTests", "EdgeRuntime/Configuration", ["Configuration", "HTTP", "System"]),
        tests(
            "IsolatesTests", "EdgeRuntime/Isolates",
            ["Isolates", "Seccomp", "System", "CLinux", "Wire", "Observability"]),
        tests("ObservabilityTests", "EdgeRuntime/Observability", ["Observability", "System"]),
        .target(
            name: "SQLiteFaults", dependencies: ["CSQLite"], path: "Tests/Support/SQLiteFaults"),
        // Started by tests as isolates, and as a node that is killed.
        .executableTarget(name: "SandboxProbe", path: "Tests/Support/SandboxProbe"),
        .executableTarget(name: "SandboxGuest", path: "Tests/Support/SandboxGuest", swiftSettings: strict),
        .executableTarget(
            name: "NodeStandIn", dependencies: ["Isolates", "Observability", "System"],
            path: "Tests/Support/NodeStandIn", swiftSettings: strict),
        tests(
            "HostTests", "EdgeRuntime/Host",
            [
                "Host", "Caching", "Curl", "HTTP", "HTTP2", "Interfaces", "Isolates", "Observability", "Stores", "System",
                "Wire",
            ]),
        tests(
            "WorkersTests", "EdgeRuntime/Workers",
            ["DurableObjects", "Workers", "WorkersCrypto", "Interfaces", "Wire", "HTTP", "System"]),
        tests("WorkersCryptoTests", "EdgeRuntime/WorkersCrypto", ["WorkersCrypto", "OpenSSL", "Crypt"]),
        tests("PlatformTests", "Handlers/Platform", ["Platform", "WorkersCrypto", "Workers", "Interfaces"]),
        tests("CollaborationTests", "Handlers/Collaboration", ["Collaboration"], exclude: ["peers.mjs"]),
        tests(
            "ServicesTests", "Handlers/Services",
            [
                "AuthService", "ContentService", "Platform", "Workers", "WorkersCrypto", "Interfaces", "Stores", "StoresD1",
                "Observability", "System",
            ]),
        tests(
            "StoresKVTests", "Bindings/KV",
            ["StoresKV", "Stores", "Interfaces", "Wire", "System", "LMDB", "Observability"]),
        tests(
            "StoresD1Tests", "Bindings/D1",
            [
                "StoresD1", "Stores", "TenantSQL", "Interfaces", "Wire", "System", "SQLite", "SQLiteFaults", "OpenSSL",
                "Observability",
            ]),
        tests(
            "StoresR2Tests", "Bindings/R2",
            ["StoresR2", "Stores", "Interfaces", "Wire", "HTTP", "LMDB", "OpenSSL", "Observability", "System"]),
        tests(
            "StoresQueuesTests", "Bindings/Queues",
            ["StoresQueues", "Stores", "Interfaces", "Wire", "System", "LMDB", "Observability"]),
        tests(
            "ReleasesTests", "Deploy/Releases",
            [
                "Releases", "Configuration", "Host", "Interfaces", "LMDB", "Observability", "SQLite", "Stores", "StoresD1",
                "StoresQueues", "System",
            ]),
        tests(
            "StoresRateLimitsTests", "Bindings/RateLimits",
            ["StoresRateLimits", "Stores", "Interfaces", "Wire", "System"]),
        tests(
            "StoresAnalyticsTests", "Bindings/Analytics",
            ["StoresAnalytics", "Stores", "Interfaces", "Wire", "Observability", "System"]),
        tests("StoresObjectsTests", "Bindings/Objects", ["StoresObjects", "Stores", "LMDB", "System"]),
        tests(
            "StoresSimulationTests", "Bindings/Simulation",
            [
                "StoresSimulation", "StoresKV", "StoresD1", "StoresR2", "StoresQueues", "Stores", "Interfaces", "Wire",
                "Observability", "System",
            ]),
        tests("CachingTests", "EdgeRuntime/Caching", ["Caching", "HTTP", "Wire"]),
        tests(
            "StoresCacheTests", "Bindings/Cache",
            ["StoresCache", "Stores", "Interfaces", "Caching", "HTTP", "Wire", "Observability", "System"]),
    ]
)
