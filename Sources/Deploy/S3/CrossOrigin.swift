internal import HTTP
internal import Host
internal import Interfaces
internal import StoresR2
internal import XML

/// Which pages of other origins may use a bucket (CORS), by the bucket's rules.
struct CrossOrigin {
    let rules: [R2CorsRule]

    init(rules: [R2CorsRule]) { self.rules = rules }

    /// The rules of a bucket; of several tenants that have one of that name, of the first.
    init(bucket: String?, of tenants: [S3Tenant]) {
        var found: [R2CorsRule] = []
        for tenant in tenants {
            guard let bucket, let rules = try? tenant.store.corsRules(of: bucket), !rules.isEmpty else { continue }
            found = rules
            break
        }
        rules = found
    }

    // MARK: Answers

    /// What an answer tells the browser; empty when no rule allows the origin to see it.
    func headers(origin: String, method: String) -> [(name: String, value: String)] {
        guard let rule = rules.first(where: { $0.allows(origin: origin, method: method) }) else { return [] }
        var headers = Self.origin(origin, rule)
        let exposed = rule.exposeHeaders ?? []
        if !exposed.isEmpty { headers.append(("access-control-expose-headers", exposed.joined(separator: ", "))) }
        return headers
    }

    private static func origin(_ origin: String, _ rule: R2CorsRule) -> [(name: String, value: String)] {
        rule.allowed.origins.contains("*")
            ? [("access-control-allow-origin", "*")]
            : [("access-control-allow-origin", origin), ("vary", "Origin")]
    }

    func preflight(_ request: S3Request) throws(S3Error) -> LocalResponse {
        guard let origin = request.header("origin"), let method = request.header("access-control-request-method") else {
            throw .invalidRequest("Insufficient information. Origin request header needed.")
        }
        let headers = (request.header("access-control-request-headers") ?? "").split(separator: ",")
            .map { CanonicalRequest.collapse(String($0)).lowercased() }.filter { !$0.isEmpty }
        guard let rule = rules.first(where: { $0.allows(origin: origin, method: method, headers: headers) }) else {
            throw S3Error(
                "AccessForbidden", 403,
                "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request "
                    + "method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the "
                    + "resource's CORS spec.")
        }
        var answer = Self.origin(origin, rule)
        answer.append(("access-control-allow-methods", rule.allowed.methods.joined(separator: ", ")))
        if !headers.isEmpty { answer.append(("access-control-allow-headers", headers.joined(separator: ", "))) }
        if let seconds = rule.maxAgeSeconds { answer.append(("access-control-max-age", "\(seconds)")) }
        return .empty(204, answer)
    }

    // MARK: The document

    static func read(_ root: XMLElement) throws(S3Error) -> [R2CorsRule] {
        let elements = root.children("CORSRule")
        guard !elements.isEmpty else { throw .malformedXML }
        return try elements.map { element throws(S3Error) in
            func texts(_ name: String) -> [String] { element.children(name).map(\.trimmedText) }
            let methods = texts("AllowedMethod")
            guard !methods.isEmpty, element.child("AllowedOrigin") != nil else { throw S3Error.malformedXML }
            for method in methods where !["GET", "PUT", "POST", "DELETE", "HEAD"].contains(method) {
                throw S3Error.invalidRequest(
                    "Found unsupported HTTP method in CORS config. Unsupported method is \(method)")
            }
            let seconds = try element.child("MaxAgeSeconds").map { element throws(S3Error) in
                guard let seconds = Int64(element.trimmedText), seconds >= 0 else { throw S3Error.malformedXML }
                return seconds
            }
            let (headers, exposed) = (texts("AllowedHeader"), texts("ExposeHeader"))
            return R2CorsRule(
                allowed: .init(
                    methods: methods, origins: texts("AllowedOrigin"), headers: headers.isEmpty ? nil : headers),
                id: element.text(of: "ID"), exposeHeaders: exposed.isEmpty ? nil : exposed, maxAgeSeconds: seconds)
        }
    }

    static func write(_ rules: [R2CorsRule]) -> XMLDocument {
        XMLDocument("CORSConfiguration") { xml in
            for rule in rules {
                xml.element("CORSRule") { xml in
                    if let id = rule.id { xml.element("ID", id) }
                    for text in rule.allowed.origins { xml.element("AllowedOrigin", text) }
                    for text in rule.allowed.methods { xml.element("AllowedMethod", text) }
                    for text in rule.allowed.headers ?? [] { xml.element("AllowedHeader", text) }
                    for text in rule.exposeHeaders ?? [] { xml.element("ExposeHeader", text) }
                    if let seconds = rule.maxAgeSeconds { xml.element("MaxAgeSeconds", seconds) }
                }
            }
        }
    }
}
