internal import Host
internal import System

/// Which events a tail shows: those that pass all of its filters (spec control-plane.md §7).
struct TailFilter: Sendable {
    private struct Header: Sendable {
        let name: String
        let query: String?
    }

    private var samplingRate = 1.0
    /// Each of the lists is a filter of its own.
    private var outcomes: [[String]] = []
    private var methods: [[String]] = []
    private var headers: [Header] = []
    private var clients: [[String]] = []
    private var queries: [String] = []
    private var versions: [String] = []

    static let everything = TailFilter()

    /// What the product's runtime has, some of which can't happen here.
    private static let knownOutcomes = [
        "ok", "canceled", "exception", "exceededCpu", "exceededMemory", "unknown", "scriptNotFound",
        "responseStreamDisconnected", "exceededWallTime", "daemonDown", "internalError", "loadShed",
    ]

    /// Of the request's body.
    static let schema = APISchema.object([.optional("filters", .nullable(.array(filterSchema, 0...32)))])

    private static let text = APISchema.string(1...1024)
    private static let filterSchema = APISchema.object([
        .optional("sampling_rate", .number), .optional("outcome", .array(.choice(knownOutcomes), 1...32)),
        .optional("method", .array(text, 1...32)),
        .optional("header", .object([.required("key", text), .optional("query", .nullable(.string(0...1024)))])),
        .optional("client_ip", .array(text, 1...32)), .optional("query", text), .optional("scriptVersion", text),
    ])

    private init() {}

    /// Reads the filters of a body that `schema` has let pass.
    ///
    /// - Parameter client: The address that `self` stands for.
    init(_ body: JSON, client: String) throws(APIError) {
        for (index, filter) in (body["filters"]?.items ?? []).enumerated() {
            for member in filter.members ?? [] { try add(member, client: client, at: "/filters/\(index)/\(member.name)") }
        }
    }

    private mutating func add(_ member: JSON.Member, client: String, at pointer: String) throws(APIError) {
        let texts = member.value.items?.compactMap(\.text) ?? []
        switch member.name {
        case "sampling_rate":
            guard let rate = member.value.number, (0...1).contains(rate) else {
                throw APIError(400, 10021, "sampling_rate must be a number from 0 to 1", pointer: pointer)
            }
            samplingRate *= rate
        case "outcome": outcomes.append(texts)
        case "method": methods.append(texts.map { $0.uppercased() })
        case "header":
            let query = member.value["query"]?.text ?? ""
            headers.append(Header(name: member.value["key"]?.text?.lowercased() ?? "", query: query.isEmpty ? nil : query))
        case "client_ip":
            var addresses: [String] = []
            for text in texts {
                guard let address = NetworkAddress(text: text == "self" ? client : text) else {
                    throw APIError(400, 10021, "client_ip must have addresses, or \"self\", not \"\(text)\"", pointer: pointer)
                }
                addresses.append(address.text)
            }
            clients.append(addresses)
        case "query": queries.append(member.value.text ?? "")
        case "scriptVersion": versions.append(member.value.text ?? "")
        default: throw APIError(400, 10021, "There is no filter \"\(member.name)\"", pointer: pointer)
        }
    }

    // MARK: Asking

    func takesSample() -> Bool { samplingRate >= 1 || samplingRate > 0 && Double.random(in: 0..<1) < samplingRate }

    /// Whether an event that starts so may pass.
    func passes(_ cause: TraceEvent.Cause, of worker: TraceEvent.Worker) -> Bool {
        guard versions.allSatisfy({ $0 == worker.version }) else { return false }
        guard case .fetch(let request) = cause else { return methods.isEmpty && headers.isEmpty && clients.isEmpty }
        return methods.allSatisfy { $0.contains(request.method.uppercased()) }
            && headers.allSatisfy { Self.passes($0, request) }
            && clients.allSatisfy { $0.contains(Self.client(of: request)) }
    }

    private static func passes(_ header: Header, _ request: TraceEvent.Request) -> Bool {
        request.headers.contains { $0.name == header.name && (header.query.map($0.value.contains) ?? true) }
    }

    private static func client(of request: TraceEvent.Request) -> String {
        let text = request.header("cf-connecting-ip") ?? ""
        return NetworkAddress(text: text)?.text ?? text
    }

    /// Whether an event that is over, and has passed the start, passes the rest.
    func passes(_ event: TraceEvent) -> Bool {
        guard outcomes.allSatisfy({ $0.contains(event.outcome.rawValue) }) else { return false }
        // In what is shown: no filter may find out what is hidden.
        return queries.allSatisfy { query in
            event.logs.contains { log in
                event.shown(log.text).contains(query)
                    || log.fields.contains { event.shown($0.name).contains(query) || event.shown($0.value).contains(query) }
            }
        }
    }
}
