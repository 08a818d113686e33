internal import Configuration
internal import Host
internal import Observability
internal import Releases
internal import TLS

/// What all commands that run a node have in common.
struct NodeOptions {
    static let options: [Option] = [
        .values("listen", "HOST:PORT", "where clients come in; may be repeated; port 0 takes a free one (127.0.0.1:8787)"),
        .flag("https", "speaks https with a certificate for localhost, which it makes and keeps in the state directory"),
        .values("s3", "HOST:PORT", "where the S3 API comes in; may be repeated; port 0 takes a free one (nowhere)"),
        .value("s3-domain", "NAME", "lets clients of the S3 API name a bucket in the host, as BUCKET.NAME"),
        .value("control", "HOST:PORT", "where `edge status` and metrics come in (127.0.0.1:0)"),
        .flag("control-https", "speaks https at --control as well; always where other machines reach it"),
        .value("state", "DIRECTORY", "where all data is kept; one node at a time (state/ENVIRONMENT)", .directories),
        .value("drain-delay", "DURATION", "how long readiness fails before anything ends, when the node is to end (0s in dev)"),
        .value("reactors", "N", "threads that serve clients (one per core)"),
        .value(
            "log-level", "LEVEL", "trace, debug, info, notice, warning or error (info)",
            .choices(["trace", "debug", "info", "notice", "warning", "error"])),
        .value("log-format", "FORMAT", "text or json (text)", .choices(["text", "json"])),
        .flag("log-requests", "logs each request (in dev)"),
        .flag("no-log-requests", "logs no requests (elsewhere)"),
    ]

    var environment: String
    /// Clients' name for the node.
    var domain: String
    var listen: [EdgeAddress]
    /// `nil`: all is plain.
    var tls: TLSOptions?
    /// `nil`: the S3 API is nowhere.
    var s3: S3Options?
    /// What secrets are sealed with.
    /// PEM files of those who must have signed what is deployed.
    var deployKeyFiles: [String] = []
    var keySource: SecretKeySource
    var control: Host.ListenAddress
    /// Whether https is spoken there, with the certificates of `tls`.
    var isControlSecure: Bool
    var stateDirectory: String
    var reactorCount: Int
    var logLevel: LogLevel
    var logFormat: LogWriter.Format
    var settings = EdgeSettings()
    var drain: DrainSettings
    /// How long requests wait for a switch before all goes on as before.
    var switchHold: Duration
    /// Requests per second and client; 0 is off.
    var clientRateLimit: Int
    var clientRateLimitOverTime: ClientRateLimit?
    var monitoring: Monitoring
    /// Serves a copy of another node's state, to whoever has started it alone: see `RehearsalNode`.
    private(set) var isRehearsal = false

    /// Nobody else is to notice it, nor anything outside to be reached by it.
    mutating func rehearse() {
        isRehearsal = true
        let anywhere = Host.ListenAddress(host: "127.0.0.1", port: 0)
        listen = [EdgeAddress(address: anywhere, isSecure: false)]
        control = anywhere
        (tls, s3, isControlSecure) = (nil, nil, false)
        (clientRateLimit, clientRateLimitOverTime) = (0, nil)
        // What is rehearsed needn't be signed yet.
        deployKeyFiles = []
        drain.delay = .zero
    }

    /// - Parameters:
    ///   - configuration: what the environment's file says; the command line wins over it.
    ///   - base: what stands before `state/` when no directory is named.
    init(
        _ arguments: CommandLineArguments, environment: String, configuration: EffectiveConfiguration? = nil,
        base: String = ""
    ) throws(UsageError) {
        func address(_ option: String, _ text: String) throws(UsageError) -> Host.ListenAddress {
            guard let address = Host.ListenAddress(text) else {
                throw .invalidValue(option: "--\(option)", value: text, expected: "HOST:PORT, such as 127.0.0.1:8787")
            }
            return address
        }
        self.environment = environment
        domain = configuration?.domain ?? "localhost"
        drain = configuration?.drain ?? DrainSettings()
        switchHold = configuration?.deploy.switchHold ?? .seconds(1)
        if let delay = try arguments.duration("drain-delay") { drain.delay = delay }
        clientRateLimit = configuration?.clientRateLimit ?? 0
        clientRateLimitOverTime = configuration?.clientRateLimitOverTime
        monitoring = configuration?.monitoring ?? .full
        settings.webSocketIdleTimeout = configuration?.webSocketIdleTimeout
        if let deploy = configuration?.deploy { settings.webSocketDrain = deploy.drainWebSockets }
        var listen: [Host.ListenAddress] = []
        for text in arguments.all("listen") { listen.append(try address("listen", text)) }
        if listen.isEmpty {
            listen = configuration?.listen.map { Host.ListenAddress(host: $0.host, port: $0.port) } ?? []
        }
        if listen.isEmpty { listen = [Host.ListenAddress(host: "127.0.0.1", port: 8787)] }
        let secure = configuration?.tls?.listen.map { Host.ListenAddress(host: $0.host, port: $0.port) } ?? []
        if let settings = configuration?.tls {
            guard !arguments.has("https") else { throw .certificateTwice }
            tls = TLSOptions(
                source: .files(
                    settings.certificates.map {
                        TLSFiles(certificate: Self.path($0.certificate, in: base), key: Self.path($0.key, in: base))
                    }), redirects: settings.redirect)
        } else if arguments.has("https") {
            tls = TLSOptions(source: .selfSigned, redirects: false)
        }
        let isAllSecure = tls != nil && secure.isEmpty
        // For https first: a redirect has to know their port.
        self.listen =
            secure.map { EdgeAddress(address: $0, isSecure: true) }
            + listen.map { EdgeAddress(address: $0, isSecure: isAllSecure) }
        s3 = S3Options(configuration?.s3)
        var addresses: [Host.ListenAddress] = []
        for text in arguments.all("s3") { addresses.append(try address("s3", text)) }
        if !addresses.isEmpty || arguments.has("s3-domain") {
            var options = s3 ?? S3Options()
            if !addresses.isEmpty {
                options.listen = addresses.map { EdgeAddress(address: $0, isSecure: arguments.has("https")) }
            }
            if let domain = arguments.value("s3-domain") { options.domains = [domain] }
            s3 = options
        }
        deployKeyFiles = (configuration?.deployKeys ?? []).map { Self.path($0, in: base) }
        keySource = SecretKeySource.find(named: arguments.value("key-file"), environment: environment)
        control = try address("control", arguments.value("control") ?? "127.0.0.1:0")
        isControlSecure = arguments.has("control-https") || !control.isLoopback
        if isControlSecure, tls == nil {
            throw control.isLoopback ? .controlWithoutCertificate : .controlInTheClear("\(control)")
        }
        stateDirectory = arguments.value("state") ?? "\(base)state/\(environment)"
        reactorCount = try arguments.integer("reactors", 1...64) ?? ProcessorCount.online
        let level = arguments.value("log-level") ?? configuration?.log.level.rawValue ?? "info"
        guard let logLevel = LogLevel(name: level) else {
            throw .invalidValue(
                option: "--log-level", value: level, expected: "trace, debug, info, notice, warning or error")
        }
        self.logLevel = logLevel
        switch arguments.value("log-format") ?? configuration?.log.format.rawValue ?? "text" {
        case "text": logFormat = .text
        case "json": logFormat = .json
        case let other: throw .invalidValue(option: "--log-format", value: other, expected: "text or json")
        }
        settings.errorPages = (configuration.map { $0.errorPages == .trace } ?? (environment == "dev")) ? .trace : .plain
        settings.logsRequests =
            arguments.has("log-requests") || environment == "dev" && !arguments.has("no-log-requests")
        if let proxies = configuration?.trustedProxies.map(\.description), !proxies.isEmpty {
            settings.trustedProxies = TrustedProxies(proxies) ?? .none
        }
    }

    private static func path(_ path: String, in base: String) -> String { path.hasPrefix("/") ? path : base + path }
}

/// An address for clients, and what is spoken there.
struct EdgeAddress: Equatable, Sendable {
    var address: Host.ListenAddress
    var isSecure: Bool
}

/// Where the S3 API is, and how.
struct S3Options: Equatable, Sendable {
    var listen: [EdgeAddress] = []
    var domains: [String] = []
    var isStrict = false
    /// Whether any port will do when the one that is asked for is taken.
    var takesFreePort = false

    /// That of a developer's machine.
    static let ofDevelopers = S3Options(
        listen: [EdgeAddress(address: Host.ListenAddress(host: "127.0.0.1", port: 9000), isSecure: false)],
        takesFreePort: true)

    init(listen: [EdgeAddress] = [], takesFreePort: Bool = false) {
        self.listen = listen
        self.takesFreePort = takesFreePort
    }

    init?(_ settings: S3Settings?) {
        guard let settings else { return nil }
        listen = settings.listen.map {
            EdgeAddress(address: Host.ListenAddress(host: $0.host, port: $0.port), isSecure: settings.isSecure)
        }
        domains = settings.domain.map { [$0] } ?? []
        isStrict = settings.isStrict
    }
}

/// Where a node's certificates come from.
struct TLSOptions: Equatable, Sendable {
    enum Source: Equatable, Sendable {
        /// The first pair is the default.
        case files([TLSFiles])
        /// One for localhost, which the node makes itself.
        case selfSigned
    }
    var source: Source
    /// Whether plain addresses send clients to https.
    var redirects: Bool
}

extension CommandLineArguments {
    func integer(_ name: String, _ range: ClosedRange<Int>) throws(UsageError) -> Int? {
        guard let text = value(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw .invalidValue(
                option: "--\(name)", value: text, expected: "an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func duration(_ name: String) throws(UsageError) -> Duration? {
        guard let text = value(name) else { return nil }
        guard let duration = DurationText.parse(text) else {
            throw .invalidValue(option: "--\(name)", value: text, expected: "a duration with a unit, such as 30s or 5m")
        }
        return duration
    }

    func size(_ name: String) throws(UsageError) -> Int? {
        guard let text = value(name) else { return nil }
        guard let size = SizeText.parse(text) else {
            throw .invalidValue(option: "--\(name)", value: text, expected: "a size with a unit, such as 64MiB")
        }
        return size
    }
}
