package import HTTP

/// One environment of one platform, all files merged and checked: what a release is made of.
package struct EffectiveConfiguration: Sendable {
    package var environment: String
    package var kind: EnvironmentKind
    package var tenant: String
    package var domain: String
    package var listen: [ListenAddress]
    package var tls: TLSSettings?
    /// `nil`: nowhere.
    package var s3: S3Settings?
    package var trustedProxies: [AddressRange]
    package var log: LogSettings
    package var errorPages: ErrorPages
    package var hasPreviewURLs: Bool
    /// How long the previous release stays ready for a rollback.
    package var keepWarm: Duration
    /// Requests per second and client; 0 is off.
    package var clientRateLimit: Int
    /// `nil` keeps idle sockets open.
    package var webSocketIdleTimeout: Duration?
    package var deploy: DeploySettings
    package var durableObjects: DurableObjectSettings
    package var retention: RetentionSettings
    package var r2 = R2Settings()
    package var kv = KVSettings()
    package var cache = CacheStoreSettings()
    package var monitoring = Monitoring.full
    /// Beside `clientRateLimit`; `nil` is off.
    package var clientRateLimitOverTime: ClientRateLimit?
    package var drain = DrainSettings()
    package var hooks: [Hook]
    /// PEM files of public keys: bundles must be signed by one of them. Read when the node starts; empty: none must.
    package var deployKeys: [String] = []
    /// The control URLs of the environment's nodes, by their names.
    package var nodes: [String: String] = [:]
    /// `nil`, and always in production: stores answer as well as they can.
    package var simulate: SimulateSettings?
    /// All of them, disabled ones too, by name.
    package var workers: [WorkerConfiguration]
    /// Declared ones and those that a worker names, by name.
    package var queues: [QueueSettings]
    /// Each value with its origin, in the order in which `config show` prints them.
    package var settings: [Setting]

    /// The tenant's plan, for what isn't a worker's: the most generous of its workers' profiles.
    package var plan: LimitProfile {
        let profiles = workers.filter(\.isEnabled).map(\.limits.profile)
        return LimitProfile.allCases.last { profiles.contains($0) } ?? .paid
    }

    package func worker(_ name: String) -> WorkerConfiguration? { workers.first { $0.name == name } }

    package func setting(_ path: String) -> Setting? { settings.first { $0.path == path } }

    /// What the routing table is made of: the routes and domains of all enabled workers. In an environment whose
    /// domain is `localhost`, the loopback addresses stand for it too.
    package var routes: [(pattern: RoutePattern, worker: String)] {
        var routes: [(pattern: RoutePattern, worker: String)] = []
        for worker in workers where worker.isEnabled {
            for route in worker.routes {
                routes.append((route.pattern, worker.name))
                for address in loopbackAddresses(
                    for: route.pattern.host, isSuffix: route.pattern.hostHasWildcard)
                {
                    let scheme = route.pattern.scheme.map { $0 == .http ? "http://" : "https://" } ?? ""
                    let path = route.pattern.path + (route.pattern.pathHasWildcard ? "*" : "")
                    if let alias = try? RoutePattern("\(scheme)\(address)\(path)", for: worker.name) {
                        routes.append((alias, worker.name))
                    }
                }
            }
        }
        return routes
    }

    package var customDomains: [(domain: CustomDomain, worker: String)] {
        var domains: [(domain: CustomDomain, worker: String)] = []
        for worker in workers where worker.isEnabled {
            for domain in worker.customDomains {
                domains.append((domain.domain, worker.name))
                for address in loopbackAddresses(for: domain.domain.host, isSuffix: false) {
                    if let alias = try? CustomDomain(address, for: worker.name) {
                        domains.append((alias, worker.name))
                    }
                }
            }
        }
        return domains
    }

    private func loopbackAddresses(for host: String, isSuffix: Bool) -> [String] {
        host == "localhost" && domain == "localhost" && !isSuffix ? ["127.0.0.1", "[::1]"] : []
    }
}

/// One value of an effective configuration, and where it comes from.
package struct Setting: Sendable, Equatable, CustomStringConvertible {
    package let path: String
    /// As TOML.
    package let value: String
    /// `nil` for a built-in value.
    package let place: SourcePlace?
    /// How the value was derived from what stands there, such as `×4 in dev`.
    package let note: String?

    /// `file:line:column`, or `built-in`.
    package var origin: String { (place?.description ?? "built-in") + (note.map { ", \($0)" } ?? "") }

    /// `workers.api-gateway.isolates.max = 16  (environments/production.toml:19:26)`
    package var description: String { "\(path) = \(value)  (\(origin))" }

    /// `{path,value,file,line,column}`, the last three `null` for a built-in value.
    package var json: String { JSONText.object([("path", JSONText.quoted(path))] + members) }

    fileprivate var members: [(String, String)] {
        // It was written by `tomlText`, dates apart, which JSON has as texts.
        let read = try? TOMLReader.readValue(SourceText(name: path, text: value))
        return [
            ("value", read?.json ?? JSONText.quoted(value)),
            ("file", place.map { JSONText.quoted($0.file) } ?? "null"),
            ("line", place.map { String($0.line) } ?? "null"),
            ("column", place.map { String($0.column) } ?? "null"),
        ]
    }

    /// When a change of it takes effect under a running node.
    package enum Effect: Sendable { case onReload, byDeploy }

    package var effect: Effect {
        let first = path.prefix { $0 != "." && $0 != "[" }
        return ["listen", "log", "tls", "trusted_proxies"].contains(String(first)) ? .onReload : .byDeploy
    }
}

/// A value that differs between two configurations. `nil`: it's absent there.
package struct SettingChange: Sendable, Equatable {
    package let path: String
    package let old: Setting?
    package let new: Setting?
    package var effect: Setting.Effect { (new ?? old)?.effect ?? .byDeploy }

    /// `{path,old,new}`: each `{value,file,line,column}`, or `null` where it's absent.
    package var json: String {
        func side(_ setting: Setting?) -> String { setting.map { JSONText.object($0.members) } ?? "null" }
        return JSONText.object([("path", JSONText.quoted(path)), ("old", side(old)), ("new", side(new))])
    }
}

extension EffectiveConfiguration {
    /// What of `other` differs from this one, by path. For `config diff`, and for a node that is told to reload.
    package func changes(to other: EffectiveConfiguration) -> [SettingChange] {
        let old = Dictionary(settings.map { ($0.path, $0) }) { first, _ in first }
        let new = Dictionary(other.settings.map { ($0.path, $0) }) { first, _ in first }
        return Set(old.keys).union(new.keys).sorted().compactMap { path in
            guard old[path]?.value != new[path]?.value else { return nil }
            return SettingChange(path: path, old: old[path], new: new[path])
        }
    }

    /// What stands in the way of a deploy on the side of the secrets.
    ///
    /// - Parameter stored: The names that are set, by worker.
    package func checkSecrets(stored: [String: Set<String>]) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for worker in workers where worker.isEnabled {
            let names = stored[worker.name] ?? []
            for secret in worker.secrets where !names.contains(secret.name) {
                found.append(
                    Diagnostic(
                        .error, .missingSecret, at: secret.place, path: "workers.\(worker.name).secrets",
                        "worker \"\(worker.name)\" requires the secret \"\(secret.name)\", which is not set in \(environment)",
                        fix: "edge secret put \(secret.name) --worker \(worker.name) --env \(environment)"))
            }
            for variable in worker.variables where names.contains(variable.name) {
                found.append(
                    Diagnostic(
                        .error, .duplicateName, at: variable.place,
                        path: "workers.\(worker.name).vars.\(variable.name)",
                        "worker \"\(worker.name)\" has a variable \"\(variable.name)\", and a secret of that name is stored in \(environment)",
                        fix: "rename the variable, or delete the secret"))
            }
        }
        return found
    }
}
