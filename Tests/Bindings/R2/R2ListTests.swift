import Interfaces
import LMDB
import Testing

@testable import StoresR2

@Suite struct `R2 list` {
    /// What a list must return, computed the simple way.
    static func model(
        _ keys: [String], prefix: String, delimiter: String, startAfter: String?
    ) -> [String] {
        var items: [String] = []
        for key in keys.sorted(by: { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }) {
            guard Array(key.utf8).starts(with: Array(prefix.utf8)) else { continue }
            if let startAfter, !Array(startAfter.utf8).lexicographicallyPrecedes(Array(key.utf8)) { continue }
            let bytes = Array(key.utf8)[...]
            if let end = EmbeddedR2Store.end(of: Array(delimiter.utf8), in: bytes, behind: prefix.utf8.count) {
                let folded = "P:" + String(decoding: bytes[..<end], as: UTF8.self)
                if items.last != folded { items.append(folded) }
            } else {
                items.append("O:" + key)
            }
        }
        return items
    }

    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func `agrees with a model for random keys`(_ seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let bucket = try await Fixture().bucket
        let alphabet = ["a", "b", "/", "é", "//", "😀", "0", String(repeating: "x", count: 240)]
        func word(_ lengths: ClosedRange<Int>) -> String {
            (0..<Int.random(in: lengths, using: &generator)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }.joined()
        }
        var keys: Set<String> = []
        while keys.count < 150 {
            let key = word(1...7)
            if key.utf8.count <= 1024 { keys.insert(key) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for key in keys { group.addTask { try await bucket.put(key, "v") } }
            try await group.waitForAll()
        }
        for _ in 0..<60 {
            let prefix = Bool.random(using: &generator) ? "" : word(0...2)
            let delimiter = ["", "/", "//", "é", "x/"][Int.random(in: 0..<5, using: &generator)]
            let startAfter = Bool.random(using: &generator) ? nil : word(0...3)
            let limit = [1, 2, 7, 1000][Int.random(in: 0..<4, using: &generator)]
            var found: [String] = []
            var cursor: String?
            repeat {
                let page = try await bucket.list(
                    limit: limit, prefix: prefix, cursor: cursor, delimiter: delimiter, startAfter: startAfter
                )
                let items = page.objects.map { "O:" + $0.key } + page.delimitedPrefixes.map { "P:" + $0 }
                #expect(items.count <= limit && (items.count == limit || !page.truncated))
                found += items.sorted {
                    Array($0.utf8.dropFirst(2)).lexicographicallyPrecedes(Array($1.utf8.dropFirst(2)))
                }
                cursor = page.cursor
            } while cursor != nil
            let expected = Self.model(
                Array(keys), prefix: prefix, delimiter: delimiter, startAfter: startAfter)
            #expect(
                found == expected, "seed \(seed), prefix \(prefix), delimiter \(delimiter), limit \(limit)")
        }
    }

    @Test func `takes the later of cursor and startAfter`() async throws {
        let bucket = try await Fixture().bucket
        for key in ["a", "b", "c", "d"] { try await bucket.put(key, "v") }
        let cursor = try #require(try await bucket.list(limit: 2).cursor)
        #expect(try await bucket.list(cursor: cursor, startAfter: "a").objects.map(\.key) == ["c", "d"])
        #expect(try await bucket.list(cursor: cursor, startAfter: "c").objects.map(\.key) == ["d"])
        #expect(await failure { _ = try await bucket.list(cursor: "?") }.hasSuffix("(10029)"))
    }

    @Test func `tells metadata only when it is asked for`() async throws {
        let bucket = try await Fixture().bucket
        let http = R2HTTPMetadata(contentType: "a/b")
        try await bucket.put("k", "v", httpMetadata: http, customMetadata: ["x": "y"])
        func first(_ include: R2ListInclude) async throws -> R2Object {
            try #require(try await bucket.list(include: include).objects.first)
        }
        #expect(try await first([]).httpMetadata == R2HTTPMetadata())
        #expect(try await first([]).customMetadata.isEmpty)
        #expect(try await first(.httpMetadata).httpMetadata == http)
        #expect(try await first(.httpMetadata).customMetadata.isEmpty)
        #expect(try await first([.httpMetadata, .customMetadata]).customMetadata == ["x": "y"])
        #expect(try await first([]).checksums.md5 != nil)
    }

    @Test func `ends a page of much metadata early and goes on behind it`() async throws {
        let bucket = try await Fixture().bucket
        let metadata = ["k": String(repeating: "m", count: 8191)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<500 {
                group.addTask { try await bucket.put("key\(1000 + number)", "", customMetadata: metadata) }
            }
            try await group.waitForAll()
        }
        var keys: [String] = []
        var cursor: String?
        var pages = 0
        repeat {
            let page = try await bucket.list(cursor: cursor, include: .customMetadata)
            keys += page.objects.map(\.key)
            cursor = page.cursor
            pages += 1
        } while cursor != nil
        #expect(pages > 1 && keys == (0..<500).map { "key\(1000 + $0)" })
    }
}

@Suite struct `Long keys` {
    @Test(arguments: [21, 22, 23] as [UInt64])
    func `keep byte order and forget what is deleted`(_ seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let fixture = try await Fixture()
        let environment = fixture.store.index.environment
        let keys = try LongKeys(environment, name: "test")
        var model: [[UInt8]: [UInt8]] = [:]
        // Few different bytes and lengths around the chunk's make chunks that are shared, full and
        // exceeded.
        func randomKey() -> [UInt8] {
            let count = [1, 3, 479, 480, 481, 482, 959, 960, 961, 962, 1028][
                Int.random(in: 0..<11, using: &generator)]
            var key = [UInt8](repeating: 7, count: count)
            for _ in 0..<2 {
                key[Int.random(in: 0..<count, using: &generator)] =
                    [0, 255, 8][Int.random(in: 0..<3, using: &generator)]
            }
            if Bool.random(using: &generator) {
                key = [UInt8](repeating: 7, count: count - 1) + [key[count - 1]]
            }
            return key
        }
        for round in 0..<12 {
            let changes = (0..<40).map { _ in (randomKey(), Int.random(in: 0..<3, using: &generator)) }
            let doomed = Array(model.keys.shuffled(using: &generator).prefix(15))
            try environment.write { transaction in
                for (key, kind) in changes {
                    try keys.put(key, [UInt8(kind), UInt8(round)], transaction)
                }
                for key in doomed { _ = try keys.delete(key, transaction) }
            }
            for (key, kind) in changes { model[key] = [UInt8(kind), UInt8(round)] }
            for key in doomed { model[key] = nil }
            let sorted = model.keys.sorted { $0.lexicographicallyPrecedes($1) }
            let bound = randomKey()
            try environment.read { transaction throws(LMDBError) in
                for key in sorted { #expect(try keys.value(of: key, transaction) == model[key]) }
                for key in doomed { #expect(try keys.value(of: key, transaction) == nil) }
                var walked: [[UInt8]] = []
                try keys.scan(from: [], transaction) { key, record in
                    #expect(record == model[key])
                    walked.append(key)
                    return .next
                }
                #expect(walked == sorted, "seed \(seed), round \(round)")
                var fromBound: [[UInt8]] = []
                try keys.scan(from: bound, transaction) { key, _ in
                    fromBound.append(key)
                    return .seek(key + [0])
                }
                #expect(fromBound == sorted.filter { !$0.lexicographicallyPrecedes(bound) })
            }
        }
        // When all are gone, no branch is left over.
        try environment.write { transaction in
            for key in model.keys {
                let wasThere = try keys.delete(key, transaction)
                let isThere = try keys.delete(key, transaction)
                #expect(wasThere && !isThere)
            }
        }
        let branches = try environment.openDatabase("test-branches")
        let left = try environment.read { transaction throws(LMDBError) in try transaction.count(of: branches)
        }
        #expect(left == 1)  // The counter.
    }
}
