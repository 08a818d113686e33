internal import HTTP
internal import System

/// Which release a request gets while its tenant has more than one, or more than one version of something, in service.
extension HTTPStream {
    func choose(_ route: RouteTarget) -> RouteTarget {
        guard let split = route.split else { return route }
        let target = TrafficSplit.target(route, in: choose(from: split))
        shadow(target, by: split)
        return target
    }

    func choose(_ target: SiteTarget) -> SiteTarget {
        guard let split = target.split else { return target }
        return SiteTarget(release: choose(from: split), name: target.name) ?? target
    }

    /// Decides once for the request, however often it is routed: by the versions that it asks for, then by the key that the
    /// client sends or the cookie or address that it has, else by chance.
    private func choose(from split: TrafficSplit) -> ReleaseRuntime {
        let (key, overrides) = versionHeaders()
        guard split.hasShares || !overrides.isEmpty else { return split.release(at: 0) }
        let point = exchange.point ?? key.map(split.point) ?? affinityPoint(split)
        exchange.point = point
        // Whoever asks for versions goes where these are, whatever his point.
        if !overrides.isEmpty { exchange.affinityCookie = nil }
        return split.release(at: point, with: overrides)
    }

    private func versionHeaders() -> (key: String?, overrides: [(worker: String, version: String)]) {
        var key: String?
        var overrides: [String] = []
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            for index in 0..<parser.head.fields.count {
                let field = parser.head.fields[index]
                guard field.known == .other, field.name.count == 30 || field.name.count == 36 else { continue }
                switch span.text(field.name).lowercased() {
                case "cloudflare-workers-version-key": if key == nil { key = span.text(field.value) }
                case "cloudflare-workers-version-overrides": overrides.append(span.text(field.value))
                default: continue
                }
            }
        }
        // Several lines are one list (RFC 8941 §4.2).
        return (key.flatMap { $0.isEmpty ? nil : $0 }, VersionOverrides.parse(overrides.joined(separator: ", ")))
    }

    // MARK: Staying with a release

    private func affinityPoint(_ split: TrafficSplit) -> Int {
        switch split.affinity {
        case .none: return Int(reactor.random.next() % UInt64(TrafficSplit.pointCount))
        case .clientAddress: return split.point(of: unsafe input.withReadable { unsafe EdgeHeaders.limitKey(of: self, $0) })
        case .cookie(let name):
            if let key = cookie(name) { return split.point(of: key) }
            let key = HexText.of(reactor.random.next()) + HexText.of(reactor.random.next())
            let isSecure = unsafe input.withReadable { unsafe EdgeHeaders.isSecure(self, $0) }
            exchange.affinityCookie =
                "Set-Cookie: \(name)=\(key); Path=/; HttpOnly; SameSite=Lax\(isSecure ? "; Secure" : "")\r\n"
            return split.point(of: key)
        }
    }

    /// The value of the first cookie of that name (RFC 6265 §5.4); `nil` when there is none, or nothing in it.
    private func cookie(_ name: String) -> String? {
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            for index in 0..<parser.head.fields.count where parser.head.fields[index].known == .cookie {
                for pair in span.text(parser.head.fields[index].value).split(separator: ";") {
                    let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    guard parts.count == 2, parts[0].drop(while: { $0 == " " }) == name, !parts[1].isEmpty else { continue }
                    return String(parts[1])
                }
            }
            return nil
        }
    }

    // MARK: A release by its number

    /// Finds where the request leads, by the routes of the release that it asks for, if that is one of several.
    func findRoute() -> RoutingTable.Match {
        let all = reactor.routes
        if !all.numbered.isEmpty, let number = askedRelease {
            for release in all.numbered where release.number == number {
                switch find(in: release.routes) {
                case .unknownHost: continue
                case let match: return match
                }
            }
        }
        return find(in: all)
    }

    private func find(in routes: RoutingTable) -> RoutingTable.Match {
        unsafe withTarget { unsafe routes.match(host: $0, pathAndQuery: $1, scheme: client.scheme) }
    }

    private var askedRelease: Int64? {
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            for index in 0..<parser.head.fields.count {
                let field = parser.head.fields[index]
                guard field.known == .other, field.name.count == 21,
                    span.text(field.name).lowercased() == "edge-release-override"
                else { continue }
                return Int64(span.text(field.value))
            }
            return nil
        }
    }
}

private enum HexText {
    static func of(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
