internal import Glibc

/// The searching part of a route table: patterns and hosts in flat arrays, found by a hash of the host's name in
/// lower case, eight bytes at a time. A wildcard host is found by the hash of as many last bytes of the name as
/// it has; only lengths that some wildcard host has are tried.
package struct RouteMatcher: Sendable {
    private struct Host {
        let hash: UInt64
        let isSuffix: Bool
        let name: Range<Int>
        var routes: Range<Int>
        var domain: Int
    }

    private struct Route {
        let scheme: UInt8
        let isPrefix: Bool
        let path: Range<Int>
        let score: Int
        let textLength: Int
        let index: Int
    }

    /// Host names, then paths.
    private var bytes: [UInt8] = []
    private var hosts: [Host] = []
    /// By host, the most specific first.
    private var routes: [Route] = []
    /// Places in `hosts` plus one, at the slot of their hash or the next free one; zero is free.
    private var slots: [UInt32] = [0]
    /// Bit n: some wildcard host is n bytes long. A name has at most 253 bytes.
    private var suffixLengths = SIMD4<UInt64>()

    private struct HostKey: Hashable {
        let name: String
        let isSuffix: Bool
    }

    package init(patterns: [RoutePattern], domains: [CustomDomain]) {
        var byHost: [HostKey: [Int]] = [:]
        var order: [HostKey] = []
        func see(_ key: HostKey) {
            if byHost[key] == nil {
                byHost[key] = []
                order.append(key)
            }
        }
        for (index, pattern) in patterns.enumerated() {
            let key = HostKey(name: pattern.host, isSuffix: pattern.hostHasWildcard)
            see(key)
            byHost[key]?.append(index)
        }
        var domainIndexes: [String: Int] = [:]
        for (index, domain) in domains.enumerated() where domainIndexes[domain.host] == nil {
            domainIndexes[domain.host] = patterns.count + index
            see(HostKey(name: domain.host, isSuffix: false))
        }
        for key in order {
            let name = append(key.name)
            let firstRoute = routes.count
            let sorted = (byHost[key] ?? []).sorted { left, right in
                let (a, b) = (patterns[left], patterns[right])
                if a.score != b.score { return a.score > b.score }
                if a.text.utf8.count != b.text.utf8.count { return a.text.utf8.count > b.text.utf8.count }
                return left < right
            }
            for index in sorted {
                let pattern = patterns[index]
                routes.append(
                    Route(
                        scheme: pattern.scheme?.rawValue ?? 3, isPrefix: pattern.pathHasWildcard,
                        path: append(pattern.path), score: pattern.score, textLength: pattern.text.utf8.count,
                        index: index))
            }
            // SAFETY: the range was appended just now.
            let hash = unsafe bytes.withUnsafeBytes {
                unsafe Self.hash(UnsafeRawBufferPointer(rebasing: $0[name]))
            }
            if key.isSuffix { suffixLengths[name.count >> 6] |= 1 << UInt64(name.count & 63) }
            hosts.append(
                Host(
                    hash: hash, isSuffix: key.isSuffix, name: name, routes: firstRoute..<routes.count,
                    domain: key.isSuffix ? -1 : domainIndexes[key.name] ?? -1))
        }
        fillSlots()
    }

    private mutating func append(_ text: String) -> Range<Int> {
        let start = bytes.count
        bytes += Array(text.utf8)
        return start..<bytes.count
    }

    private mutating func fillSlots() {
        var count = 8
        while count < hosts.count * 2 { count *= 2 }
        slots = [UInt32](repeating: 0, count: count)
        for (index, host) in hosts.enumerated() {
            var slot = Self.slot(host.hash, count)
            while slots[slot] != 0 { slot = (slot + 1) & (count - 1) }
            slots[slot] = UInt32(index + 1)
        }
    }

    // MARK: Matching

    /// A route's number is its place in `patterns`; a domain's that in `domains`, plus the number of patterns.
    package func match(host: RawSpan, target: RawSpan, scheme: RouteScheme) -> RouteMatchIndex {
        // SAFETY: the pointers don't leave the closures.
        unsafe host.withUnsafeBytes { host in
            unsafe target.withUnsafeBytes { target in
                let name = unsafe Self.name(of: host)
                let exact = unsafe find(name, isSuffix: false)
                if exact >= 0 {
                    let route = unsafe firstRoute(of: exact, target, scheme)
                    if route >= 0 { return .route(routes[route].index) }
                }
                let (route, isKnown) = unsafe matchSuffixes(name, target, scheme)
                if route >= 0 { return .route(routes[route].index) }
                guard exact >= 0 else { return isKnown ? .knownHost : .unknownHost }
                return hosts[exact].domain >= 0 ? .domain(hosts[exact].domain) : .knownHost
            }
        }
    }

    /// The custom domain of exactly this host.
    package func domain(host: RawSpan) -> Int? {
        // SAFETY: the pointer doesn't leave the closure.
        unsafe host.withUnsafeBytes { host in
            let found = unsafe find(Self.name(of: host), isSuffix: false)
            return found >= 0 && hosts[found].domain >= 0 ? hosts[found].domain : nil
        }
    }

    /// The best route among those of wildcard hosts, -1 when none matches, and whether any such host does.
    private func matchSuffixes(
        _ name: UnsafeRawBufferPointer, _ target: UnsafeRawBufferPointer, _ scheme: RouteScheme
    ) -> (route: Int, isKnown: Bool) {
        var best = -1
        var isKnown = false
        for word in 0..<4 {
            var lengths = suffixLengths[word]
            while lengths != 0 {
                let length = word << 6 + lengths.trailingZeroBitCount
                guard length <= name.count else { return (best, isKnown) }
                lengths &= lengths - 1
                let found = unsafe find(
                    UnsafeRawBufferPointer(rebasing: name[(name.count - length)...]), isSuffix: true)
                guard found >= 0 else { continue }
                isKnown = true
                best = better(best, unsafe firstRoute(of: found, target, scheme))
            }
        }
        return (best, isKnown)
    }

    /// The place in `hosts`; -1 when there is none of that name.
    private func find(_ name: UnsafeRawBufferPointer, isSuffix: Bool) -> Int {
        let hash = unsafe Self.hash(name)
        var slot = Self.slot(hash, slots.count)
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if hosts[index].hash == hash, hosts[index].isSuffix == isSuffix,
                hosts[index].name.count == name.count,
                unsafe hasName(hosts[index].name.lowerBound, name)
            {
                return index
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return -1
    }

    /// Whether `name` in lower case stands at `start` of `bytes`, which has at least as many from there.
    private func hasName(_ start: Int, _ name: UnsafeRawBufferPointer) -> Bool {
        unsafe bytes.withUnsafeBytes { bytes in
            let own = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<(start + name.count)])
            var offset = 0
            while offset < name.count {
                let left = unsafe Self.word(own, offset)
                let right = unsafe Self.word(name, offset)
                if left != Self.lowerCase(right) { return false }
                offset += 8
            }
            return true
        }
    }

    /// The place in `routes` of the most specific pattern of a host that matches; -1 when none does.
    private func firstRoute(of host: Int, _ target: UnsafeRawBufferPointer, _ scheme: RouteScheme) -> Int {
        unsafe bytes.withUnsafeBytes { paths -> Int in
            guard let sent = target.baseAddress, let path = paths.baseAddress else { return -1 }
            for index in hosts[host].routes {
                let route = routes[index]
                let count = route.path.count
                guard route.scheme & scheme.rawValue != 0,
                    route.isPrefix ? target.count >= count : target.count == count
                else { continue }
                // SAFETY: `path` lies inside `bytes`, which doesn't change once the table is made; `target` has at
                // least `count` bytes.
                if unsafe memcmp(sent, path + route.path.lowerBound, count) == 0 { return index }
            }
            return -1
        }
    }

    private func better(_ left: Int, _ right: Int) -> Int {
        guard left >= 0, right >= 0 else { return max(left, right) }
        let (a, b) = (routes[left], routes[right])
        if a.score != b.score { return a.score > b.score ? left : right }
        if a.textLength != b.textLength { return a.textLength > b.textLength ? left : right }
        return a.index < b.index ? left : right
    }

    // MARK: Bytes

    /// The host without port and without the dot that may end a name.
    private static func name(of host: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var end = 0
        if unsafe host.count > 0 && host[0] == UInt8(ascii: "[") {
            while end < host.count, unsafe host[end] != UInt8(ascii: "]") { end += 1 }
            end = min(end + 1, host.count)
        } else {
            while end < host.count, unsafe host[end] != UInt8(ascii: ":") { end += 1 }
            if end > 1, unsafe host[end - 1] == UInt8(ascii: ".") { end -= 1 }
        }
        return unsafe UnsafeRawBufferPointer(rebasing: host[..<end])
    }

    /// The eight bytes at `offset`; at the end of a longer text the last eight, of a shorter one what there is.
    @inline(__always)
    private static func word(_ text: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        // SAFETY: the offsets lie inside the text, and any bit pattern is an integer.
        if text.count >= 8 {
            return unsafe text.loadUnaligned(fromByteOffset: min(offset, text.count - 8), as: UInt64.self)
        }
        var word: UInt64 = 0
        for index in 0..<text.count { word |= UInt64(unsafe text[index]) << UInt64(index * 8) }
        return word
    }

    /// Eight bytes with A–Z made a–z.
    @inline(__always)
    private static func lowerCase(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let low = word & (ones &* 0x7F)
        // The top bit of each byte: at least "A", but not above "Z", and ASCII.
        let fromA = low &+ ones &* (0x80 - 0x41)
        let aboveZ = low &+ ones &* (0x7F - 0x5A)
        let capitals = (fromA ^ aboveZ) & ~word & (ones &* 0x80)
        return word | (capitals >> 2)
    }

    /// Names come from the configuration, so nobody outside can choose what collides in the table.
    private static func hash(_ name: UnsafeRawBufferPointer) -> UInt64 {
        var hash = UInt64(truncatingIfNeeded: name.count) &* 0x9E37_79B9_7F4A_7C15
        var offset = 0
        while offset < name.count {
            hash = (hash ^ lowerCase(unsafe word(name, offset))) &* 0xD6E8_FEB8_6659_FD93
            hash ^= hash >> 32
            offset += 8
        }
        return hash
    }

    @inline(__always)
    private static func slot(_ hash: UInt64, _ count: Int) -> Int {
        Int(truncatingIfNeeded: hash) & (count - 1)
    }
}
