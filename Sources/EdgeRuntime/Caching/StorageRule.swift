package import HTTP

/// How long a stored response may be used, and what of it is kept.
package struct StorageTerms: Equatable, Sendable {
    /// Seconds, counted from when the origin made it.
    package var lifetime: Int64
    /// How old it was when it came, in seconds.
    package var initialAge: Int64
    /// RFC 5861: seconds behind the lifetime in which it may be used while, or because of what, the origin does.
    package var staleWhileRevalidate: Int64
    package var staleIfError: Int64
    /// Fields that are for one client only, in lower case.
    package var dropped: Set<String>

    package init(
        lifetime: Int64, initialAge: Int64 = 0, staleWhileRevalidate: Int64 = 0, staleIfError: Int64 = 0,
        dropped: Set<String> = []
    ) {
        self.lifetime = lifetime
        self.initialAge = initialAge
        self.staleWhileRevalidate = staleWhileRevalidate
        self.staleIfError = staleIfError
        self.dropped = dropped
    }
}

/// Why a response isn't kept.
package enum StorageRefusal: String, Equatable, Sendable {
    case method, partial, status, varyStar, setCookie, authorization, noStore, isPrivate, noCache, expired, noFreshness, option
    case tooLarge
}

package enum StorageVerdict: Equatable, Sendable {
    case store(StorageTerms)
    case skip(StorageRefusal)

    package var terms: StorageTerms? {
        if case .store(let terms) = self { return terms }
        return nil
    }
}

/// How long a response without any word about freshness is kept.
package enum DefaultLifetime: Equatable, Sendable {
    /// The product's table.
    case byStatus
    /// The same statuses, but no longer than so many seconds; 0 keeps none.
    case atMost(Int64)
    case none

    package func seconds(_ status: Int) -> Int64? {
        let table: Int64? =
            switch status {
            case 200, 206, 301: 120 * 60
            case 302, 303: 20 * 60
            case 404, 410: 3 * 60
            default: nil
            }
        switch self {
        case .byStatus: return table
        case .atMost(let seconds): return seconds > 0 ? table.map { min($0, seconds) } : nil
        case .none: return nil
        }
    }
}

/// Whether a response may be kept by a cache that all share, and on what terms (RFC 9111 §3, §4.2).
package struct StorageRule: Sendable {
    /// A larger body is passed on and not kept.
    package static let bodyBytesMax: Int64 = 512 << 20

    package var requestHeaders: Headers
    package var options: CacheOptions
    package var defaultLifetime: DefaultLifetime
    /// When the response came, in seconds since 1970.
    package var now: Int64
    /// When it was asked for: what lies between may have passed before it was made or after.
    package var askedAt: Int64

    package init(
        requestHeaders: Headers = Headers(), options: CacheOptions = CacheOptions(),
        defaultLifetime: DefaultLifetime = .byStatus, now: Int64, askedAt: Int64? = nil
    ) {
        self.requestHeaders = requestHeaders
        self.options = options
        self.defaultLifetime = defaultLifetime
        self.now = now
        self.askedAt = min(askedAt ?? now, now)
    }

    /// Statuses whose meaning for caches is known here (RFC 9111 §5.2.2.3).
    private static let understood: Set<Int> = [
        200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 500, 501, 502, 503, 504,
    ]

    /// - Parameter status: of the response to a GET.
    package func verdict(status: Int, headers: Headers) -> StorageVerdict {
        guard status != 206 else { return .skip(.partial) }
        // 304 speaks of what is stored already; 1xx and what isn't final never come here.
        guard status >= 200, status != 304 else { return .skip(.status) }
        if let names = Variant.names(headers), names.contains("*") { return .skip(.varyStar) }
        let own = CacheControl(headers["cache-control"] ?? "")
        let override = options.cacheControl.map(CacheControl.init) ?? TargetedCacheControl.find(in: headers)
        let control = override ?? own
        let personal = ["private", "no-cache"].reduce(into: Set<String>()) {
            $0.formUnion(own.fields($1).union(control.fields($1)))
        }
        guard !headers.has("set-cookie") || personal.contains("set-cookie") else { return .skip(.setCookie) }
        if requestHeaders.has("authorization"), !["public", "s-maxage", "must-revalidate"].contains(where: control.has) {
            return .skip(.authorization)
        }
        if options.mode == .noStore { return .skip(.option) }
        if control.has("must-understand"), !Self.understood.contains(status) { return .skip(.status) }
        var terms = StorageTerms(lifetime: 0, initialAge: initialAge(headers), dropped: personal)
        if let seconds = forced(status) {
            guard seconds > 0 else { return .skip(.option) }
            terms.lifetime = min(Int64(seconds), DeltaSeconds.max)
            terms.initialAge = 0
            return .store(terms)
        }
        switch lifetime(status, headers, control, mayExpire: override == nil) {
        case .failure(let refusal): return .skip(refusal)
        case .success(let seconds): terms.lifetime = seconds
        }
        guard terms.lifetime > terms.initialAge else { return .skip(.expired) }
        // RFC 9111 §4.2.4: these forbid what RFC 5861 would allow.
        if !["must-revalidate", "proxy-revalidate", "s-maxage"].contains(where: control.has) {
            terms.staleWhileRevalidate = control.seconds("stale-while-revalidate") ?? 0
            terms.staleIfError = control.seconds("stale-if-error") ?? 0
        }
        return .store(terms)
    }

    /// The seconds that the options give to a response with `status`, whatever its headers say.
    private func forced(_ status: Int) -> Int? {
        if let step = options.ttlByStatus.first(where: { $0.statuses.contains(status) }) { return step.ttl }
        guard let ttl = options.ttl else { return nil }
        return status < 500 ? ttl : -1
    }

    /// RFC 9111 §4.2.3: what caches on the way say, or what the origin's clock does, whichever is more.
    private func initialAge(_ headers: Headers) -> Int64 {
        let apparent = date(headers["date"]).map { max(0, now - $0) } ?? 0
        // Of several the first one counts; what is no number says nothing (RFC 9111 §5.1).
        let first = headers["age"]?.split(separator: ",", omittingEmptySubsequences: false).first ?? ""
        let said = DeltaSeconds.parse(first.filter { $0 != " " && $0 != "\t" }) ?? 0
        return min(max(apparent, said + now - askedAt), DeltaSeconds.max)
    }

    private func date(_ text: String?) -> Int64? {
        text.flatMap { HTTPDate($0, now: HTTPDate(unixSeconds: now)) }?.unixSeconds
    }

    private func lifetime(
        _ status: Int, _ headers: Headers, _ control: CacheControl, mayExpire: Bool
    ) -> Result<Int64, StorageRefusal> {
        // RFC 9111 §5.2.2.3: whoever understands the status doesn't heed the word for those who don't.
        if control.has("no-store"), !control.has("must-understand") { return .failure(.noStore) }
        if control.isUnqualified("private") { return .failure(.isPrivate) }
        if control.isUnqualified("no-cache") { return .failure(.noCache) }
        if let seconds = control.seconds("s-maxage") ?? control.seconds("max-age") {
            return seconds > 0 ? .success(seconds) : .failure(.expired)
        }
        if mayExpire, let text = headers["expires"] {
            // What is no date lies in the past (RFC 9111 §5.3).
            let made = date(headers["date"]) ?? now
            guard let expires = date(text), expires > made else { return .failure(.expired) }
            return .success(min(expires - made, DeltaSeconds.max))
        }
        return defaultLifetime.seconds(status).map { .success($0) } ?? .failure(.noFreshness)
    }
}

extension StorageRefusal: Error {}
