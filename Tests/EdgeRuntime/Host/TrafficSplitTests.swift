import HTTP
import System
import Testing

@testable import Host

@Suite struct `Traffic split` {
    private let old = ReleaseRuntime(name: "old", number: 1, tenant: "t", workers: [])
    private let new = ReleaseRuntime(name: "new", number: 2, tenant: "t", workers: [])
    private let next = ReleaseRuntime(name: "next", number: 3, tenant: "t", workers: [])

    private func split(_ percent: Int) -> TrafficSplit {
        TrafficSplit(old).adding(candidate: TrafficSplit(new), percent: percent, affinity: .none)
    }

    @Test func `gives a candidate the upper end of the line`() {
        for percent in [0, 1, 10, 50, 99, 100] {
            let split = split(percent)
            let border = TrafficSplit.pointCount - percent * 100
            for point in [0, border - 1, border, TrafficSplit.pointCount - 1] where (0..<10_000).contains(point) {
                #expect(split.release(at: point).number == (point >= border ? 2 : 1), "\(percent) %, point \(point)")
            }
            #expect(split.primary === old)
            #expect(split.isSplit)
            #expect(split.hasShares == (1...99).contains(percent))
        }
    }

    @Test func `takes the upper end of older releases and keeps their order`() {
        let two = split(50).adding(candidate: TrafficSplit(next), percent: 20, affinity: .none)
        #expect(two.release(at: 4999).number == 1)
        #expect(two.release(at: 5000).number == 2)
        #expect(two.release(at: 7999).number == 2)
        #expect(two.release(at: 8000).number == 3)
        let most = split(50).adding(candidate: TrafficSplit(next), percent: 80, affinity: .none)
        #expect(most.release(at: 1999).number == 1)
        #expect(most.release(at: 2000).number == 3)
    }

    /// A worker whose versions share requests does so on both sides of the border, on the same points.
    @Test func `leaves a worker's shares as they are`() {
        func parts(_ number: Int64) -> TrafficSplit {
            let (first, second) = (
                ReleaseRuntime(name: "a", number: number, tenant: "t", workers: []),
                ReleaseRuntime(name: "b", number: number, tenant: "t", workers: [])
            )
            return TrafficSplit(
                primary: first, parts: [.init(end: 3000, release: first), .init(end: 10_000, release: second)],
                versions: ["w": [:]]
            ) { _ in 0 }
        }
        for percent in [0, 10, 50, 80, 100] {
            let split = parts(1).adding(candidate: parts(2), percent: percent, affinity: .none)
            for point in stride(from: 0, to: 10_000, by: 50) {
                #expect(split.release(at: point).name == (point < 3000 ? "a" : "b"))
                #expect(split.release(at: point).number == (point >= 10_000 - percent * 100 ? 2 : 1))
            }
        }
    }

    @Test(arguments: [5, 25, 50, 90]) func `is drawn by its shares`(percent: Int) {
        let split = split(percent)
        let draws = 20_000
        var count = 0
        for _ in 0..<draws where split.draw() === new { count += 1 }
        let (expected, rest) = (Double(draws * percent) / 100, Double(draws * (100 - percent)) / 100)
        let difference = Double(count) - expected
        let chiSquare = difference * difference * (1 / expected + 1 / rest)
        // One degree of freedom; a fair draw exceeds this once in ten million runs.
        #expect(chiSquare < 28.4, "\(count) of \(draws)")
    }

    @Test func `answers a release's version from the release that has it`() async throws {
        try await onThread {
            let node = try FakeNode()
            defer { node.stop() }
            let (one, two) = (try node.addWorker(version: "v1"), try node.addWorker(version: "v2"))
            let (old, new) = (
                ReleaseRuntime(name: "old", number: 1, tenant: "t", workers: [one.runtime]),
                ReleaseRuntime(name: "new", number: 2, tenant: "t", workers: [two.runtime])
            )
            let split = TrafficSplit(old).adding(candidate: TrafficSplit(new), percent: 0, affinity: .none)
            #expect(split.release(at: 9999, with: [("worker", "v2")]) === new)
            #expect(split.release(at: 9999, with: [("worker", "v1")]) === old)
            // Neither what isn't deployed nor the name of another worker counts.
            #expect(split.release(at: 9999, with: [("worker", "v3"), ("other", "v2")]) === old)
            // The one that has most of them.
            #expect(split.release(at: 0, with: [("other", "x"), ("worker", "v2")]) === new)
            let half = TrafficSplit(old).adding(candidate: TrafficSplit(new), percent: 50, affinity: .none)
            #expect(half.release(at: 9999, with: [("worker", "v1")]) === old)
            #expect(half.release(at: 9999, with: [("worker", "v3")]) === new)
            // Back to one release, nothing is left to decide.
            #expect(TrafficSplit(new).release(at: 5, with: [("worker", "v1")]) === new)
        }
    }
}
