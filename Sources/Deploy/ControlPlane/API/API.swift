internal import HTTP
package import Host
internal import Observability
internal import Stores
internal import System

/// The REST API below `/client/v4`: routes a request, asks who sends it, checks what it brings, and writes the answer into the
/// envelope. What is done, the operations do.
package final class API: Sendable {
    static let prefix = "/client/v4"

    private let operations: [APIOperation]
    private let services: APIServices
    /// Names besides loopback ones that the control listener is asked under.
    private let hosts: Set<String>
    private let limiter: RequestWindow

    package init(_ operations: [APIOperation], _ services: APIServices, hosts: Set<String> = []) {
        self.operations = operations
        self.services = services
        self.hosts = hosts
        limiter = RequestWindow(countMax: 1200, seconds: 300)
    }

    /// The API of a node, with all its operations.
    ///
    /// - Parameter hosts: names besides loopback ones that the control listener is asked under.
    package static func make(_ services: APIServices, hosts: Set<String> = []) -> API {
        var operations = UserOperations.all(services) + TokenOperations.all(services) + AuditOperations.all(services)
        operations += TenantOperations.all(services)
        operations += EffectiveRouteOperations.all(services)
        operations += StateOperations.all(services)
        operations += NodeOperations.all(services)
        operations += KVOperations.all(services)
        operations += R2Operations.all(services)
        operations += QueueOperations.all(services)
        operations += ZoneOperations.all(services) + CacheOperations.all(services)
        operations += AnalyticsOperations.all(services) + RateLimitOperations.all(services)
        operations += D1Operations.all(services)
        operations += TailOperations.all(services)
        operations += TemporaryCredentialOperations.all(services)
        operations += WorkerOperations.all(services) + ObjectOperations.all(services)
        operations += ArtifactOperations.all(services) + ReleaseDeploymentOperations.all(services)
        operations += ReleaseOperations.all(services) + TriggerSetOperations.all(services)
        operations += EnvironmentSecretOperations.all(services)
        operations.append(OpenAPI.operation(for: operations, version: services.version))
        return API(operations, services, hosts: hosts)
    }

    package static func isBelow(_ path: String) -> Bool { path == prefix || path.hasPrefix(prefix + "/") }

    package func answer(_ request: LocalRequest) async -> LocalResponse {
        var operation: APIOperation?
        do throws(APIError) {
            try checkSource(request)
            let path = String(request.path.dropFirst(Self.prefix.utf8.count))
            let route = try route(request.method, path)
            operation = route.operation
            let principal: Principal =
                route.operation.access == .everybody
                ? .nobody : try authenticate(request, counting: !route.operation.isPolled)
            return await run(route, request, principal, try await allow(principal, route))
        } catch {
            request.body?.cancel()
            return Envelope.failure(error, isRepeatable: operation?.isIdempotent ?? true)
        }
    }

    // MARK: Before the operation

    /// For what the node answers beside the API where other machines reach it: the token must be one for all tenants.
    ///
    /// - Returns: `nil` for a request that may have its answer.
    func refusal(of request: LocalRequest) -> LocalResponse? {
        do throws(APIError) {
            try checkSource(request)
            let principal = try authenticate(request, counting: true)
            guard principal.grants.contains(where: { $0.tenant == nil }) else { throw .notAllowed }
            return nil
        } catch {
            request.body?.cancel()
            return Envelope.failure(error, isRepeatable: false)
        }
    }

    /// A page of another site must not drive the API of a developer's machine: neither from its own origin (CSRF) nor under
    /// a name that was made to mean this address (DNS rebinding).
    private func checkSource(_ request: LocalRequest) throws(APIError) {
        let host = request.host.lowercased()
        guard Self.isAddress(host) || hosts.contains(Self.withoutPort(host)) else {
            throw APIError(403, 10000, "The host \"\(host)\" is not served here: use the address, or configure the name")
        }
        if let origin = request.header("origin") {
            let authority = origin.split(separator: "/", omittingEmptySubsequences: true).last.map(String.init) ?? ""
            guard authority.lowercased() == (request.header("host") ?? host).lowercased() else {
                throw APIError(403, 10000, "Requests of other origins are refused")
            }
        }
        if let site = request.header("sec-fetch-site"), site == "cross-site" || site == "same-site" {
            throw APIError(403, 10000, "Requests of other sites are refused")
        }
    }

    private static func withoutPort(_ host: String) -> String {
        if host.hasPrefix("[") { return String(host.prefix { $0 != "]" }) + "]" }
        return String(host.prefix { $0 != ":" })
    }

    /// Loopback names and addresses as such: no page can make them mean something else.
    private static func isAddress(_ host: String) -> Bool {
        let name = withoutPort(host)
        if name == "localhost" || name.hasSuffix(".localhost") || name.hasPrefix("[") { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }

    private struct Route {
        let operation: APIOperation
        let values: [String: String]
    }

    private func route(_ method: String, _ path: String) throws(APIError) -> Route {
        var segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        var best = matches(Array(segments))
        if best.isEmpty, segments.last?.isEmpty == true {
            // `…/namespaces/` is `…/namespaces`.
            segments.removeLast()
            best = matches(Array(segments))
        }
        guard !best.isEmpty else { throw .noRoute }
        // HEAD is what GET answers; the connection leaves the body out.
        let wanted = method == "HEAD" ? "GET" : method
        guard let route = best.first(where: { $0.operation.method == wanted }) else {
            throw .noMethod(method, ownCode: best.lazy.compactMap { $0.operation.mistakes(.method) }.first)
        }
        for (name, value) in route.values where !Self.isIdentifier(value, name) { throw .badIdentifier(path) }
        return route
    }

    /// All operations of the path, the most particular ones first.
    private func matches(_ segments: [Substring]) -> [Route] {
        let found = operations.compactMap { operation in
            operation.path.match(segments).map { Route(operation: operation, values: $0) }
        }
        let most = found.map(\.operation.path.wordCount).max() ?? 0
        return found.filter { $0.operation.path.wordCount == most }
    }

    private static func isIdentifier(_ value: String, _ name: String) -> Bool {
        guard name == "namespace_id" || name == "queue_id" || name == "token_id" else { return true }
        return value.utf8.count == 32 && value.utf8.allSatisfy { $0.isHexadecimal }
    }

    /// - Parameter counts: Whether it is one of the requests that a token may make in a while.
    private func authenticate(_ request: LocalRequest, counting counts: Bool) throws(APIError) -> Principal {
        let credentials = try Credentials(request.headers)
        guard let token = services.tokens.find(credentials, at: services.clock.wallTime()) else {
            if case .key = credentials { throw .unknownKey }
            throw .unknownToken
        }
        if counts, let wait = limiter.take(token.id, at: services.clock.now()) {
            throw APIError(
                429, 971, "Please wait and consider throttling your request speed", retryAfterSeconds: wait)
        }
        return token.principal
    }

    /// What of the node the path speaks of.
    private struct Subject {
        var tenant: String?
        var zone: String?
    }

    private func allow(_ principal: Principal, _ route: Route) async throws(APIError) -> Subject {
        func named(_ parameter: String) -> String { PercentEncoding.decode(route.values[parameter] ?? "") }
        switch route.operation.access {
        case .everybody, .everyToken: return Subject()
        case .account(let product, let level):
            guard let tenant = services.accounts.tenant(named("account_id")), principal.may(product, level, on: tenant) else {
                throw .notAllowed
            }
            return Subject(tenant: tenant)
        case .zone(let product, let level):
            guard let zone = await services.accounts.zone(named("zone_id")), principal.may(product, level, on: zone.tenant)
            else {
                throw .notAllowed
            }
            return Subject(tenant: zone.tenant, zone: zone.name)
        }
    }

    // MARK: The operation

    private func run(
        _ route: Route, _ request: LocalRequest, _ principal: Principal, _ subject: Subject
    ) async -> LocalResponse {
        let operation = route.operation
        var failure: APIError?
        var response: LocalResponse
        do {
            let call = try await prepare(route, request, principal, subject)
            response = Envelope.write(try await operation.answer(call))
        } catch let error as APIError {
            failure = error
            response = Envelope.failure(error, isRepeatable: operation.isIdempotent)
        } catch {
            services.logger.log(.error, "an API operation failed: \(error)", [("operation", operation.id)])
            let unknown = APIError.internalError(operation.id)
            failure = unknown
            response = Envelope.failure(unknown, isRepeatable: operation.isIdempotent)
        }
        if failure != nil { request.body?.cancel() }
        guard operation.isAudited else { return response }
        let entry = AuditLog.Entry(
            time: services.clock.wallTime(), tokenID: principal.tokenID, tokenName: principal.name, tenant: subject.tenant,
            operation: operation.id, method: request.method, path: request.path, client: request.client,
            status: response.status, code: failure?.code)
        do { try await services.disk.run { [services] in try services.audit.append(entry) } } catch {
            // What was done stays done, and nobody is told otherwise; that it isn't recorded must not stay unseen.
            services.logger.log(.error, "the audit log can't be written: \(error)", [("operation", operation.id)])
        }
        return response
    }

    private func prepare(
        _ route: Route, _ request: LocalRequest, _ principal: Principal, _ subject: Subject
    ) async throws -> APICall {
        let query = Self.query(request.query)
        for parameter in route.operation.query {
            guard let text = query.first(where: { $0.name == parameter.name })?.value else { continue }
            do throws(APISchema.Mismatch) { try parameter.schema.check(Self.value(text, parameter.schema)) } catch {
                throw APIError(
                    400, route.operation.mistakes(.parameter(parameter.name)) ?? 10026,
                    "The parameter \(parameter.name) must be \(error.expected)")
            }
        }
        var json = JSON.null
        var text: [UInt8] = []
        if case .json(let schema, let bytesMax) = route.operation.body {
            text = try await Self.read(request.body, bytesMax: bytesMax)
            // Where nothing has to be said, nothing may be sent.
            if text.isEmpty { text = schema.ofNothing }
            guard let value = await parse(text) else {
                guard let code = route.operation.mistakes(.unreadable) else { throw APIError.malformedBody }
                throw APIError(400, code, APIError.malformedBody.message)
            }
            do throws(APISchema.Mismatch) { try schema.check(value) } catch {
                throw APIError(
                    400, route.operation.mistakes(.member(error.pointer)) ?? 10026,
                    "\(error.pointer.isEmpty ? "The body" : error.pointer) must be \(error.expected)",
                    pointer: error.pointer)
            }
            json = value
        }
        return APICall(
            principal: principal, tenant: subject.tenant, zone: subject.zone,
            parameters: route.values.mapValues { PercentEncoding.decode($0) }, rawParameters: route.values, query: query,
            headers: request.headers, json: json, text: text, body: request.body, client: request.client,
            isSecure: request.isSecure)
    }

    /// What takes more than a moment is read on another thread than the reactor's.
    private func parse(_ bytes: [UInt8]) async -> JSON? {
        bytes.count <= 64 << 10 ? JSON(bytes) : await services.work.run { JSON(bytes) }
    }

    private static func read(_ body: (any BodySource)?, bytesMax: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try await body?.next() {
            bytes += piece
            guard bytes.count <= bytesMax else {
                throw APIError(413, 10027, "The body is longer than \(bytesMax) bytes")
            }
        }
        return bytes
    }

    private static func query(_ text: String) -> [(name: String, value: String)] {
        text.split(separator: "&").map { pair in
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            func decode(_ half: Substring) -> String {
                PercentEncoding.decode(String(decoding: half.utf8.map { $0 == UInt8(ascii: "+") ? 0x20 : $0 }, as: UTF8.self))
            }
            return (decode(halves[0]), halves.count == 2 ? decode(halves[1]) : "")
        }
    }

    /// What a text of the query means where `schema` says what stands there.
    private static func value(_ text: String, _ schema: APISchema) -> JSON {
        switch schema {
        case .integer: Int64(text).map { .integer($0) } ?? .string(text)
        case .number: Double(text).map { .number($0) } ?? .string(text)
        case .bool: text == "true" ? true : text == "false" ? false : .string(text)
        default: .string(text)
        }
    }
}

extension UInt8 {
    fileprivate var isHexadecimal: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
        default: false
        }
    }
}
