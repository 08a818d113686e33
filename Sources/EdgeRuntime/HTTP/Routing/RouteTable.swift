/// Which payload (a worker, its slot, …) answers a request. An immutable value, made when routes change and
/// replaced as a whole; read by many threads at once.
///
/// A request is given to the most specific pattern that matches it, whatever the order of the routes: patterns
/// of the exact host before patterns with a wildcard host, then the higher score, then the longer text. Where
/// no pattern matches, the custom domain of that host answers.
package struct RouteTable<Payload: Sendable>: Sendable {
    /// Of the routes, then of the domains: the places that `matcher` answers with.
    package let payloads: [Payload]
    /// Decides without generic code: a reactor asks it, and takes the payload itself.
    package let matcher: RouteMatcher

    /// - Parameters:
    ///   - routes: Of two that tie, the first wins. `conflicts` names them beforehand.
    ///   - domains: Of two with one host, the first wins.
    package init(
        routes: [(pattern: RoutePattern, payload: Payload)],
        domains: [(domain: CustomDomain, payload: Payload)] = []
    ) {
        payloads = routes.map(\.payload) + domains.map(\.payload)
        matcher = RouteMatcher(patterns: routes.map(\.pattern), domains: domains.map(\.domain))
    }

    /// Decides for one request, as `matcher` does. Takes no lock and allocates nothing; linear in the host's length (for
    /// each length that a wildcard host has), in the number of patterns of that host, and in the paths compared.
    ///
    /// - Parameters:
    ///   - host: As sent: any case, with or without a port.
    ///   - target: The path with its query, as sent.
    package func match(host: RawSpan, target: RawSpan, scheme: RouteScheme) -> RouteMatch<Payload> {
        switch matcher.match(host: host, target: target, scheme: scheme) {
        case .route(let index): .route(payloads[index])
        case .domain(let index): .domain(payloads[index])
        case .knownHost: .knownHost
        case .unknownHost: .unknownHost
        }
    }

    /// Who stands behind the routes of a host: what a `fetch(request)` from a route's worker reaches.
    package func domain(host: RawSpan) -> Payload? {
        matcher.domain(host: host).map { payloads[$0] }
    }
}

/// The outcome of a look into a `RouteTable`.
package enum RouteMatch<Payload: Sendable>: Sendable {
    case route(Payload)
    case domain(Payload)
    /// The host has routes, but none for this path.
    case knownHost
    case unknownHost
}

/// The same with the payload's place in place of the payload.
package enum RouteMatchIndex: Equatable, Sendable {
    case route(Int)
    case domain(Int)
    case knownHost
    case unknownHost
}

/// Two routes, or two custom domains, that claim the same requests with equal right.
package struct RouteConflict: Equatable, Sendable {
    /// Places in the list that was given; `first < second`.
    package let first: Int
    package let second: Int

    /// All pairs of patterns that tie.
    package static func among(_ patterns: [RoutePattern]) -> [RouteConflict] {
        struct Rank: Hashable {
            let score: Int
            let length: Int
        }
        var groups: [Rank: [Int]] = [:]
        var conflicts: [RouteConflict] = []
        for (second, pattern) in patterns.enumerated() {
            let rank = Rank(score: pattern.score, length: pattern.text.utf8.count)
            for first in groups[rank, default: []] where patterns[first].ties(with: pattern) {
                conflicts.append(RouteConflict(first: first, second: second))
            }
            groups[rank, default: []].append(second)
        }
        return conflicts
    }

    /// All pairs of equal custom domains, each with the first of its host.
    package static func among(_ domains: [CustomDomain]) -> [RouteConflict] {
        var owners: [String: Int] = [:]
        var conflicts: [RouteConflict] = []
        for (second, domain) in domains.enumerated() {
            if let first = owners[domain.host] {
                conflicts.append(RouteConflict(first: first, second: second))
            } else {
                owners[domain.host] = second
            }
        }
        return conflicts
    }
}
