internal import Glibc

/// The searching part of a route table: patterns and hosts in flat arrays, found by a hash that grows from the
/// end of the host. One pass over the host's bytes thus finds its own entry and those of all wildcard hosts
/// that it ends with.
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
            var hash = Self.seed
            for byte in bytes[name].reversed() { hash = Self.step(hash, byte) }
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
        let length = Self.nameByteCount(host)
        var hash = Self.seed
        var best = -1
        var isKnown = false
        if hasSuffix(length: 0), let found = find(host, from: length, to: length, hash: hash, isSuffix: true) {
            isKnown = true
            best = better(best, firstRoute(of: found, target, scheme))
        }
        var start = length
        while start > 0 {
            start -= 1
            hash = Self.step(hash, Self.lowerCase(Self.byte(host, start)))
            if hasSuffix(length: length - start),
                let found = find(host, from: start, to: length, hash: hash, isSuffix: true)
            {
                isKnown = true
                best = better(best, firstRoute(of: found, target, scheme))
            }
        }
        if let found = find(host, from: 0, to: length, hash: hash, isSuffix: false) {
            isKnown = true
            let exact = firstRoute(of: found, target, scheme)
            if exact >= 0 { return .route(routes[exact].index) }
            if best < 0, hosts[found].domain >= 0 { return .domain(hosts[found].domain) }
        }
        if best >= 0 { return .route(routes[best].index) }
        return isKnown ? .knownHost : .unknownHost
    }

    /// The custom domain of exactly this host.
    package func domain(host: RawSpan) -> Int? {
        let length = Self.nameByteCount(host)
        var hash = Self.seed
        for index in stride(from: length - 1, through: 0, by: -1) {
            hash = Self.step(hash, Self.lowerCase(Self.byte(host, index)))
        }
        guard let found = find(host, from: 0, to: length, hash: hash, isSuffix: false) else { return nil }
        return hosts[found].domain >= 0 ? hosts[found].domain : nil
    }

    @inline(__always)
    private func hasSuffix(length: Int) -> Bool {
        length < 256 && suffixLengths[length >> 6] >> UInt64(length & 63) & 1 != 0
    }

    private func find(_ host: RawSpan, from start: Int, to end: Int, hash: UInt64, isSuffix: Bool) -> Int? {
        var slot = Self.slot(hash, slots.count)
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if hosts[index].hash == hash, hosts[index].isSuffix == isSuffix, hosts[index].name.count == end - start,
                hasName(hosts[index].name, host, from: start)
            {
                return index
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private func hasName(_ name: Range<Int>, _ host: RawSpan, from start: Int) -> Bool {
        var offset = start
        for index in name {
            if bytes[index] != Self.lowerCase(Self.byte(host, offset)) { return false }
            offset += 1
        }
        return true
    }

    /// The place in `routes` of the most specific pattern of a host that matches; -1 when none does.
    private func firstRoute(of host: Int, _ target: RawSpan, _ scheme: RouteScheme) -> Int {
        let candidates = hosts[host].routes
        return unsafe bytes.withUnsafeBytes { paths -> Int in
            for index in candidates {
                let route = routes[index]
                guard route.scheme & scheme.rawValue != 0 else { continue }
                let count = route.path.count
                guard route.isPrefix ? target.byteCount >= count : target.byteCount == count else { continue }
                // SAFETY: `path` lies inside `bytes`, which doesn't change once the table is made; `target` has at
                // least `count` bytes; a path begins with "/" and so neither pointer is nil.
                let isEqual = unsafe target.withUnsafeBytes { sent -> Bool in
                    guard let sentStart = sent.baseAddress, let pathStart = paths.baseAddress else { return false }
                    return unsafe memcmp(sentStart, pathStart + route.path.lowerBound, count) == 0
                }
                if isEqual { return index }
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
    private static func nameByteCount(_ host: RawSpan) -> Int {
        var end = 0
        if host.byteCount > 0, byte(host, 0) == UInt8(ascii: "[") {
            while end < host.byteCount, byte(host, end) != UInt8(ascii: "]") { end += 1 }
            return min(end + 1, host.byteCount)
        }
        while end < host.byteCount, byte(host, end) != UInt8(ascii: ":") { end += 1 }
        return end > 1 && byte(host, end - 1) == UInt8(ascii: ".") ? end - 1 : end
    }

    @inline(__always)
    private static func byte(_ span: RawSpan, _ offset: Int) -> UInt8 {
        // SAFETY: any bit pattern is a UInt8, and RawSpan checks the offset.
        unsafe span.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    @inline(__always)
    private static func lowerCase(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

    private static let seed: UInt64 = 0xCBF2_9CE4_8422_2325

    /// FNV-1a. Names come from the configuration, so nobody outside can choose what collides in the table.
    @inline(__always)
    private static func step(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }

    @inline(__always)
    private static func slot(_ hash: UInt64, _ count: Int) -> Int { Int((hash ^ hash >> 32) & UInt64(count - 1)) }
}
