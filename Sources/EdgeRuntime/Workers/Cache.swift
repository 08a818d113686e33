internal import Interfaces
internal import Wire

/// The node's caches, as a worker sees them. They are the tenant's: its workers share them.
public struct CacheStorage: Sendable {
    let invocation: Invocation

    /// The cache of the zone, which the node also uses for `fetch`.
    public var `default`: Cache { Cache(invocation: invocation, name: nil) }

    /// A cache of its own, made when something is first put into it.
    public func open(_ name: String) -> Cache { Cache(invocation: invocation, name: name) }
}

/// Responses by request. Nothing in it is kept for sure: what is used least makes room, and what is stale isn't found.
///
/// The key is the URL with its query, without its fragment, or `request.cache.key`; of the request's headers only
/// `Accept-Encoding` counts, where the response's `Vary` names it.
public struct Cache: Sendable {
    let invocation: Invocation
    let name: String?

    /// Stores a response, whose body is used up. It is found once it is complete, for as long as `s-maxage`, `max-age` or
    /// `Expires` say, or else for the time that its status has by default.
    ///
    /// What its headers forbid to keep (`no-store`, `private`, `no-cache`, `max-age=0`, `Set-Cookie`), and what is larger
    /// than 512 MiB, is not stored, without an error.
    ///
    /// - Throws: `CallFailure` for a request that isn't GET, status 101 or 206, and `Vary: *`; when the body was used.
    public func put(_ request: Request, _ response: Response) async throws {
        let body = response.body
        if let body, body.isUsed { throw WorkersError.bodyUsed }
        let message = CachePutMessage(
            request: self.message(request, false), status: response.status, headers: response.headers,
            bodyLength: response.body == nil ? 0 : body?.length.map(Int64.init))
        _ = try await invocation.perform(
            BindingCall(.cachePut, binding: CallPrefix.noBinding, message: message.encoded(), body: body))
    }

    public func put(_ url: String, _ response: Response) async throws { try await put(try Request(url), response) }

    /// The stored response for `request`; `nil` when there is none, or none that is fresh.
    ///
    /// `Range`, `If-None-Match` and `If-Modified-Since` of the request count: the answer may be a 206, a 304 or a 416.
    /// Returned as the handler's own response, its body goes from the store to the client without passing through here.
    ///
    /// - Parameter ignoreMethod: Otherwise only a GET finds something.
    public func match(_ request: Request, ignoreMethod: Bool = false) async throws -> Response? {
        let reply = try await invocation.perform(
            BindingCall(
                .cacheMatch, binding: CallPrefix.noBinding, message: message(request, ignoreMethod).encoded()))
        guard let found = try CacheMatchReply.decode(reply.message) else { return nil }
        let length = found.bodyLength.map(Int.init)
        return Response(
            unchecked: found.status, found.headers,
            reply.body.map { .stream(length.map($0.withLength) ?? $0) } ?? .none)
    }

    public func match(_ url: String) async throws -> Response? { try await match(try Request(url)) }

    /// Removes what is stored for `request`, on this node.
    ///
    /// - Returns: whether there was something.
    public func delete(_ request: Request, ignoreMethod: Bool = false) async throws -> Bool {
        let reply = try await invocation.perform(
            BindingCall(
                .cacheDelete, binding: CallPrefix.noBinding, message: message(request, ignoreMethod).encoded()))
        var decoder = WireDecoder(reply.message)
        return try decoder.takeBool()
    }

    public func delete(_ url: String) async throws -> Bool { try await delete(try Request(url)) }

    private func message(_ request: Request, _ ignoresMethod: Bool) -> CacheRequestMessage {
        CacheRequestMessage(
            cache: name, method: request.method.rawValue, url: request.url.href, key: request.cache.key,
            headers: request.headers, ignoresMethod: ignoresMethod)
    }
}
