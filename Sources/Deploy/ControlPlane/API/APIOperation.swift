internal import HTTP
package import Host
package import Stores

/// One operation of the API: what routes a request to it, who may use it, and what the OpenAPI document says of it.
package struct APIOperation: Sendable {
    package enum Level: String, Comparable, Sendable {
        case read, edit
        package static func < (left: Self, right: Self) -> Bool { left == .read && right == .edit }
    }

    /// What a token may be allowed to do, by product.
    package enum Product: String, CaseIterable, Sendable {
        case workers, kv, d1, r2, queues, cache, analytics, tokens, audit, tenants
    }

    package enum Access: Equatable, Sendable {
        /// Without a token.
        case everybody
        /// Any token.
        case everyToken
        /// On the account that the path names.
        case account(Product, Level)
        /// On the account that has the zone of the path.
        case zone(Product, Level)
    }

    package struct Parameter: Sendable {
        package let name: String
        package let schema: APISchema
        package let about: String
        package init(_ name: String, _ schema: APISchema, _ about: String) {
            self.name = name
            self.schema = schema
            self.about = about
        }
    }

    package enum Body: Sendable {
        case none
        /// Read whole, at most this long, and checked against its schema.
        case json(APISchema, bytesMax: Int = 1 << 20)
        /// Given to the operation as it arrives.
        /// - Parameter schema: Of JSON that the operation reads by itself.
        case stream(about: String, type: String = "application/octet-stream", schema: APISchema? = nil)

        /// JSON that the operation reads and checks itself as it arrives; the schema is for the document.
        package static func jsonStream(_ schema: APISchema) -> Body {
            .stream(about: "JSON", type: "application/json", schema: schema)
        }
    }

    /// What is wrong with a request.
    package enum Mistake: Equatable, Sendable {
        /// The body is no JSON.
        case unreadable
        /// A value of the body, by its JSON pointer (RFC 6901).
        case member(String)
        case parameter(String)
        /// The path has no such method.
        case method
    }

    package enum Result: Sendable {
        /// In the envelope.
        case json(APISchema)
        /// The bytes of a value, without an envelope.
        case raw(about: String)
    }

    let method: String
    let path: PathTemplate
    /// Of the OpenAPI document, and of the audit log.
    let id: String
    let summary: String
    let access: Access
    let query: [Parameter]
    let body: Body
    let result: Result
    /// Whether a client may send it again when it doesn't know what became of it.
    let isIdempotent: Bool
    /// The product's own number for a mistake; `nil`: the API's.
    let mistakes: @Sendable (Mistake) -> Int?
    /// Whether consumers call it all the time: then it isn't counted against the caller's requests.
    let isPolled: Bool
    /// Whether its calls are written into the audit log.
    let isAudited: Bool
    let answer: @Sendable (APICall) async throws -> APIReply

    package init(
        _ method: String, _ path: String, id: String, _ summary: String, _ access: Access, query: [Parameter] = [],
        body: Body = .none, result: Result, isIdempotent: Bool? = nil, isPolled: Bool = false, isAudited: Bool? = nil,
        mistakes: @escaping @Sendable (Mistake) -> Int? = { _ in nil },
        answer: @escaping @Sendable (APICall) async throws -> APIReply
    ) {
        self.method = method
        self.path = PathTemplate(path)
        self.id = id
        self.summary = summary
        self.access = access
        self.query = query
        self.body = body
        self.result = result
        self.isIdempotent = isIdempotent ?? (method != "POST")
        self.mistakes = mistakes
        self.isPolled = isPolled
        self.isAudited = isAudited ?? (!isPolled && Self.isMutating(method, access))
        self.answer = answer
    }

    /// Whether it changes something: such calls are audited, unless what they change is data as workers change it.
    private static func isMutating(_ method: String, _ access: Access) -> Bool {
        switch access {
        case .account(_, let level), .zone(_, let level): level == .edit
        case .everybody, .everyToken: method != "GET"
        }
    }
}

/// A request that has been routed, allowed and checked.
package struct APICall: Sendable {
    package let principal: Principal
    /// The tenant that the path names, when it names one.
    package let tenant: String?
    /// The host suffix of the zone that the path names; `nil` for all zones of the tenant, and where it names none.
    package let zone: String?
    /// Of the path, decoded once.
    package let parameters: [String: String]
    /// The same, as they were sent.
    package let rawParameters: [String: String]
    package let query: [(name: String, value: String)]
    package let headers: [(name: String, value: String)]
    /// What arrived, where the operation takes JSON; `null` else.
    package let json: JSON
    /// The same as it was written.
    package let text: [UInt8]
    package let body: (any BodySource)?
    /// The address of the connection's other end.
    package var client = ""
    /// Whether it came by https.
    package var isSecure = false

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    package func queryValue(_ name: String) -> String? { query.first { $0.name == name }?.value }

    /// The bytes of a parameter of the path, decoded once: they needn't be UTF-8.
    package func bytes(_ parameter: String) -> [UInt8] { PercentEncoding.decode((rawParameters[parameter] ?? "").utf8) }

    /// The next piece of the body, never empty; `nil` at its end.
    package func nextPiece() async throws(APIError) -> [UInt8]? {
        do { return try await body?.next() } catch { throw APIError(400, 10013, "The body broke off") }
    }
}

/// What an operation answers.
package enum APIReply: Sendable {
    /// In the envelope; `info` is its `result_info`.
    case result(JSON, info: JSON? = nil, messages: [APIError.Cause] = [], status: Int = 200)
    /// The envelope without a `result`, as a few deletions answer.
    case noResult
    case raw(LocalResponse)
}
