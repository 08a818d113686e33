import Host
import Testing

@testable import Releases

/// Where keys lie, as the platform says (spec: deploys, A3): the rest is the host's (suite *Traffic split*).
@Suite struct `Points of keys` {
    private func split(_ tenant: String = "acme") -> TrafficSplit {
        TrafficSplit.make(
            ReleaseDescription(name: "r", tenant: tenant, environment: "dev", workers: []), [], sites: [:])
    }

    @Test(arguments: [("a", 8645), ("client-7", 9368), ("", 2438)])
    func `follow from the first eight bytes of SHA-256`(key: String, point: Int) {
        #expect(split().point(of: key) == point)
    }

    @Test func `are others for another tenant`() {
        #expect(split("other").point(of: "a") != split().point(of: "a"))
    }

    @Test func `only ever move to the newer release when its share grows`() {
        let (old, new) = (split(), split())
        var before: Set<Int> = []
        for percent in [0, 1, 10, 25, 50, 75, 100] {
            let both = old.adding(candidate: new, percent: percent, affinity: .none)
            let now = Set((0..<1000).filter { both.release(at: both.point(of: "key \($0)")) === new.primary })
            #expect(before.isSubset(of: now))
            #expect(abs(now.count - percent * 10) < 40, "\(now.count) at \(percent) %")
            before = now
        }
        #expect(before.count == 1000)
    }
}

@Suite struct `Aliases of versions` {
    @Test(arguments: ["fix-1", "a", "a--", String(repeating: "a", count: 59)])
    func `are small letters, digits and dashes`(name: String) {
        #expect(VersionAlias.problem(with: name, of: "api") == nil)
    }

    @Test(arguments: ["", "Fix_1", "1a", "-a", "a_b", "a.b", "ä", "A", String(repeating: "a", count: 60)])
    func `are nothing else`(name: String) {
        #expect(VersionAlias.problem(with: name, of: "api") != nil)
    }
}
