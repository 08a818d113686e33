/// What `CF-Cache-Status` says of a response.
package enum CacheStatus: String, CaseIterable, Sendable {
    /// From the cache, and fresh.
    case hit = "HIT"
    /// Not there; it is now.
    case miss = "MISS"
    /// It was stale; the origin gave another one.
    case expired = "EXPIRED"
    /// Stale, since the origin gives none.
    case stale = "STALE"
    /// Could be kept by its URL, but not by what request or response say.
    case bypass = "BYPASS"
    /// It was stale; the origin says that it still holds.
    case revalidated = "REVALIDATED"
    /// Stale, while the origin is asked behind the client's back.
    case updating = "UPDATING"
    /// Nothing that a cache would look at.
    case dynamic = "DYNAMIC"
    case none = "NONE"

    /// `Age` is said of what comes out of the cache, and only of that.
    package var hasAge: Bool {
        switch self {
        case .hit, .stale, .updating, .revalidated: true
        case .miss, .expired, .bypass, .dynamic, .none: false
        }
    }
}
