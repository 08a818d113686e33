internal import HTTP
internal import Stores
internal import Synchronization
internal import Wire

/// Where a worker's `fetch` leads that goes to a host of its own tenant: never back to the routes, which would be a circle.
enum OwnZone {
    /// The outside.
    case elsewhere
    /// The worker that is the origin of the host: its custom domain.
    case worker(RouteTarget)
    /// Files without a worker.
    case site(AssetSite)
    /// What the node answers itself: a bucket that everybody may read.
    case local(LocalTarget)
    /// The server behind the host's routes, with the request's path, and the `Host` to name there.
    case origin(url: String, host: String)
    /// The host has routes, and nothing behind them (error 1042).
    case nothing

    static func target(of url: String, for event: EventStream, on reactor: Reactor) -> OwnZone {
        // Another port of the same host is another server.
        guard let url = WebURL(url), url.port.map({ reactor.isPublicPort($0) }) ?? true else { return .elsewhere }
        let match = unsafe Array(url.hostname.utf8).withUnsafeBytes { host in
            unsafe reactor.routes.matchBehindRoutes(host: host, tenant: event.release.tenant)
        }
        switch match {
        // The release of the event that asks, as for all that it calls.
        case .worker(let worker): return .worker(TrafficSplit.target(worker, in: event.release))
        case .site(let target): return .site(event.release.sites[target.name] ?? target.site)
        case .local(let target): return .local(target)
        case .origin(let origin):
            return .origin(url: origin.url(for: url.path + (url.query.map { "?\($0)" } ?? "")), host: url.host)
        case .noRoute: return .nothing
        case .unknownHost, .previews: return .elsewhere
        }
    }
}

/// One of the transfers that a worker may have open at once, until its response's body has ended.
final class OutboundSlot: Sendable {
    private let count: OutboundCount

    init?(_ count: OutboundCount) {
        guard count.value.add(1, ordering: .relaxed).newValue <= OutboundCount.max else {
            count.value.subtract(1, ordering: .relaxed)
            return nil
        }
        self.count = count
    }

    deinit { count.value.subtract(1, ordering: .relaxed) }
}

/// Transfers that one worker has open, over all reactors.
final class OutboundCount: Sendable {
    /// A quarter of what the node can have: no worker can leave the others none.
    static let max = 256
    let value = Atomic<Int>(0)
}

/// A response's body that keeps its transfer's slot.
final class SlottedSource: BodySource {
    private let source: any BodySource
    private let slot: OutboundSlot

    init(_ source: any BodySource, _ slot: OutboundSlot) {
        self.source = source
        self.slot = slot
    }

    func next() async throws -> [UInt8]? { try await source.next() }
    func cancel() { source.cancel() }
}
