internal import Wire

/// The answers that the node gives in a worker's place, with the product's numbers.
package enum EdgeError: Equatable, Sendable {
    /// The handler threw, or can never answer.
    case exception
    /// CPU or memory limit.
    case exceededLimits
    case rateLimited
    /// A tenant has had all requests of its day.
    case dailyLimit
    case unknownHost
    case noRoute
    case noIsolate
    case shuttingDown
    /// The release that had the request was replaced, and it took longer than it then may.
    case releaseEnded
    /// The handler threw because stores take no writes while a release is deployed.
    case storesHeld
    case badRequest(status: Int, reason: String)
    case bodyTooLarge(limit: Int)
    case requestTimeout
    case wallTime
    /// The request has come back too often.
    case loop
    /// The origin behind the workers: 520 … 530.
    case origin(status: Int)

    var status: Int {
        switch self {
        case .exception: 500
        case .exceededLimits, .noIsolate, .shuttingDown, .releaseEnded, .storesHeld: 503
        case .rateLimited, .dailyLimit: 429
        case .unknownHost, .noRoute: 404
        case .badRequest(let status, _): status
        case .bodyTooLarge: 413
        case .requestTimeout: 408
        case .wallTime: 524
        case .loop: 508
        case .origin(let status): status
        }
    }

    /// The number on the page; `nil` for plain HTTP errors.
    var code: Int? {
        switch self {
        case .exception: 1101
        case .exceededLimits: 1102
        case .rateLimited: 1015
        case .dailyLimit: 1027
        case .unknownHost: 1001
        case .loop: 1019
        case .origin(let status): status
        default: nil
        }
    }

    var title: String {
        switch self {
        case .exception: "Worker threw exception"
        case .exceededLimits: "Worker exceeded resource limits"
        case .rateLimited: "You are being rate limited"
        case .dailyLimit: "This site has been temporarily rate limited: its requests of the day are used up"
        case .unknownHost: "This host is not served here"
        case .noRoute: "No worker serves this path"
        case .noIsolate: "No isolate is free; try again shortly"
        case .shuttingDown: "This node is shutting down"
        case .releaseEnded: "The release that had the request was replaced, and did not answer in time"
        case .storesHeld: "Nothing can be written while a release is deployed; try again shortly"
        case .badRequest(_, let reason): reason
        case .bodyTooLarge(let limit): "The body is larger than \(limit) bytes"
        case .requestTimeout: "The request did not arrive in time"
        case .wallTime: "The worker took too long"
        case .loop: "The request goes in a circle"
        case .origin(521): "The origin refuses connections"
        case .origin(522): "The origin can't be reached in time"
        case .origin(524): "The origin took too long"
        case .origin(525), .origin(526): "No secure connection to the origin"
        case .origin(530): "The origin's name can't be resolved"
        case .origin: "The origin gave no usable answer"
        }
    }

    var mayRetry: Bool { status == 429 || status == 503 }
}

/// What a client sees of an `EdgeError`: a page for browsers, one line for everyone else.
struct ErrorPage {
    let error: EdgeError
    /// `CF-Ray`'s value.
    let ray: String
    /// As the client named it.
    let host: String
    /// `Date`'s value.
    let time: String
    /// What only a developer may see: the message of an uncaught error. `nil` outside dev.
    var detail: String?

    var plainText: String {
        let line = error.code.map { "error code: \($0)" } ?? error.title
        return detail.map { "\(line)\n\($0)\n" } ?? "\(line)\n"
    }

    var html: String {
        let number = error.code.map { "Error \($0)" } ?? "\(error.status)"
        let detail = detail.map { "<pre>\(Self.escape($0))</pre>" } ?? ""
        return """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><title>\(number)</title>
            <style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:12vh auto;padding:0 1.5rem;color:#222}
            h1{font-size:1.6rem}pre{background:#f4f4f5;padding:1rem;overflow:auto;border-radius:6px}
            small{color:#666}</style></head><body><h1>\(number)</h1><p>\(Self.escape(error.title))</p>\(detail)
            <small>Ray \(Self.escape(ray)) · \(Self.escape(time)) · \(Self.escape(host))</small></body></html>
            """
    }

    static func escape(_ text: String) -> String {
        var escaped = ""
        // By scalars: a mark that combines with `<` makes another Character of it, and the same byte.
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "&": escaped += "&amp;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
