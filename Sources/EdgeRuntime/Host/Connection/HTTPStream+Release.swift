internal import HTTP

/// Which release a request gets while its tenant has more than one version of something in service.
extension HTTPStream {
    /// Decides once for the request, however often it is routed: by the key that the client sends, else by chance; and puts
    /// the versions in that it asks for by id.
    func choose(_ route: RouteTarget) -> RouteTarget {
        guard let split = route.split else { return route }
        let (key, overrides) = versionHeaders()
        let point = exchange.point ?? key.map(split.point) ?? Int(reactor.random.next() % UInt64(TrafficSplit.pointCount))
        exchange.point = point
        return TrafficSplit.target(route, in: split.release(at: point, with: overrides))
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
}
