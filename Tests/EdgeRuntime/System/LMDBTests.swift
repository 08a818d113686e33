import LMDB
import Synchronization
import System
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A directory that goes with the test.
private final class Scratch: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/edge-lmdb-XXXXXX".utf8CString)
        // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return "/nonexistent" }
            return unsafe String(cString: start)
        }
    }

    func environment(
        _ change: (inout LMDBEnvironment.Options) -> Void = { _ in }
    ) throws(LMDBError) -> LMDBEnvironment {
        var options = LMDBEnvironment.Options()
        change(&options)
        return try LMDBEnvironment(directory: path + "/env", options: options)
    }

    deinit {
        for name in ["data.mdb", "lock.mdb", "owner"] { unsafe unlink(path + "/env/" + name) }
        unsafe rmdir(path + "/env")
        unsafe rmdir(path)
    }
}

extension LMDBEnvironment {
    fileprivate func value(of key: [UInt8], in database: LMDBDatabase) throws(LMDBError) -> [UInt8]? {
        try read { transaction throws(LMDBError) in try transaction.value(of: key, in: database) }
    }

    fileprivate func count(of database: LMDBDatabase) throws(LMDBError) -> Int {
        try read { transaction throws(LMDBError) in try transaction.count(of: database) }
    }
}

private struct Refusal: Error, Equatable {}

@Suite struct `LMDB environment` {
    @Test func `keeps what was written across a reopening`() throws {
        let scratch = Scratch()
        do {
            let environment = try scratch.environment()
            let database = try environment.openDatabase("one")
            try environment.write { try $0.put([1], [2, 3], in: database) }
            environment.close()
        }
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        #expect(try environment.value(of: [1], in: database) == [2, 3])
        #expect(try environment.databaseNames() == ["one"])
    }

    @Test func `refuses a second opening while the first lasts`() throws {
        let scratch = Scratch()
        let first = try scratch.environment()
        #expect(throws: LMDBError("flock", .inUse, on: scratch.path + "/env/owner")) {
            _ = try scratch.environment()
        }
        first.close()
        _ = try scratch.environment()
    }

    @Test func `refuses every use after close`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        environment.close()
        environment.close()
        #expect(throws: LMDBError.self) { try environment.count(of: database) }
        #expect(throws: LMDBError.self) { try environment.write { try $0.put([1], [1], in: database) } }
    }

    @Test func `undoes a write that throws`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        #expect(throws: Refusal()) {
            try environment.write { transaction in
                try transaction.put([1], [1], in: database)
                throw Refusal()
            }
        }
        #expect(try environment.count(of: database) == 0)
    }

    @Test func `lets a read see each commit and each database that came before it`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let first = try environment.openDatabase("one")
        for value in UInt8(0)...20 {
            try environment.write { try $0.put([7], [value], in: first) }
            #expect(try environment.value(of: [7], in: first) == [value])
        }
        let second = try environment.openDatabase("two")
        #expect(try environment.value(of: [7], in: second) == nil)
    }

    @Test func `grows the map when it is full, without losing the write`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment { $0.mapByteCount = 1 << 20 }
        let database = try environment.openDatabase("one")
        let value = [UInt8](repeating: 9, count: 300_000)
        for index in UInt8(0)..<40 { try environment.write { try $0.put([index], value, in: database) } }
        #expect(try environment.count(of: database) == 40)
        #expect(try environment.value(of: [39], in: database) == value)
    }

    @Test func `refuses to grow past its end, and still lets deletes through`() async throws {
        let scratch = Scratch()
        let environment = try scratch.environment {
            $0.mapByteCount = 1 << 20
            $0.mapByteCountMax = 1 << 21
        }
        let database = try environment.openDatabase("one")
        let value = [UInt8](repeating: 9, count: 300_000)
        #expect(throws: LMDBError.self) {
            for index in UInt8(0)..<40 { try environment.write { try $0.put([index], value, in: database) } }
        }
        let committer = GroupCommitter(environment, threadName: "test")
        async let put: Void = committer.submit {
            try $0.put([200], [UInt8](repeating: 1, count: 900_000), in: database)
        }
        async let deleted: Bool = committer.submit { try $0.delete([0], in: database) }
        #expect(try await deleted)
        do {
            try await put
            Issue.record("the put does not fit")
        } catch { #expect((error as? LMDBError)?.code == .mapFull) }
        await committer.close()
    }

    @Test func `walks keys in byte order, forwards, backwards and from a bound`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        let keys: [[UInt8]] = [[0], [0, 0], [1], [1, 255], [2], [255]]
        try environment.write { transaction in
            for key in keys.reversed() { try transaction.put(key, key + [42], in: database) }
        }
        try environment.read { transaction throws(LMDBError) in
            try transaction.withCursor(database) { cursor throws(LMDBError) in
                var seen: [[UInt8]] = []
                var found = try cursor.moveToFirst()
                while found {
                    seen.append(cursor.key)
                    #expect(cursor.value == cursor.key + [42])
                    found = try cursor.moveToNext()
                }
                #expect(seen == keys)
                found = try cursor.seek([1, 1])
                #expect(found)
                #expect(cursor.key == [1, 255])
                let isPrefix = cursor.keyStarts(with: [1])
                #expect(isPrefix)
                found = try cursor.seek(before: [1])
                #expect(found)
                #expect(cursor.key == [0, 0])
                found = try cursor.seek(before: [255, 255])
                #expect(found)
                #expect(cursor.key == [255])
                found = try cursor.seek([255, 1])
                #expect(!found)
                found = try cursor.seek(before: [0])
                #expect(!found)
            }
        }
    }

    @Test func `refuses keys of no and of 512 bytes`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        for key in [[], [UInt8](repeating: 1, count: 512)] {
            #expect(throws: LMDBError("mdb_put", .badValueSize)) {
                try environment.write { try $0.put(key, [1], in: database) }
            }
        }
        try environment.write { try $0.put([UInt8](repeating: 1, count: 511), [1], in: database) }
    }

    @Test func `puts a value from two parts and deletes under a cursor`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        try environment.write { transaction in
            try transaction.put([1], head: [1, 2], tail: [9, 3, 4][1...], in: database)
            try transaction.put([2], head: [], tail: [], in: database)
            let joined = try transaction.value(of: [1], in: database)
            #expect(joined == [1, 2, 3, 4])
            let empty = try transaction.value(of: [2], in: database)
            #expect(empty == [])
            let hasStored = try transaction.putNew([2], [7], in: database)
            #expect(!hasStored)
            let hasDeleted = try transaction.delete([3], in: database)
            #expect(!hasDeleted)
            try transaction.withCursor(database) { cursor in
                var found = try cursor.moveToFirst()
                #expect(found)
                try cursor.delete()
                found = try cursor.moveToNext()
                #expect(found)
                #expect(cursor.key == [2])
            }
        }
        #expect(try environment.count(of: database) == 1)
    }

    @Test func `survives readers on many threads while a writer grows the map`() async throws {
        let scratch = Scratch()
        let environment = try scratch.environment {
            $0.mapByteCount = 1 << 20
            $0.readersMax = 3
        }
        let database = try environment.openDatabase("one")
        let committer = GroupCommitter(environment, threadName: "test")
        try await committer.submit { try $0.put([0], [0], in: database) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<3000 {
                        try environment.read { transaction throws(LMDBError) in
                            let seen = try transaction.count(of: database)
                            let last = try transaction.value(of: [UInt8(seen - 1)], in: database)
                            #expect(last?.first == UInt8(seen - 1))
                        }
                    }
                }
            }
            group.addTask {
                for index in UInt8(1)..<60 {
                    let value = [index] + [UInt8](repeating: index, count: 200_000)
                    try await committer.submit { try $0.put([index], value, in: database) }
                }
            }
            try await group.waitForAll()
        }
        #expect(try environment.count(of: database) == 60)
        await committer.close()
    }
}

extension Scratch {
    /// Takes the descriptor away through which liblmdb writes the last page of a commit: the one for `data.mdb` that
    /// is opened with O_DSYNC.
    fileprivate func breakLastCommitStep() -> Bool {
        var buffer = [CChar](repeating: 0, count: 4096)
        for number in Int32(0)..<4096 {
            let count = unsafe readlink("/proc/self/fd/\(number)", &buffer, buffer.count)
            guard count > 0 else { continue }
            let target = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard target == path + "/env/data.mdb", fcntl(number, F_GETFL) & O_DSYNC != 0 else { continue }
            let readOnly = unsafe open(target, O_RDONLY)
            defer { close(readOnly) }
            return dup2(readOnly, number) == number
        }
        return false
    }
}

@Suite struct `A commit whose last step fails` {
    @Test func `leaves an environment that goes on, with what the disk holds`() throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let databases = try (0..<3).map { try environment.openDatabase("database \($0)") }
        for (index, database) in databases.enumerated() {
            try environment.write { try $0.put([1], [UInt8(index)], in: database) }
        }
        try #require(scratch.breakLastCommitStep())
        let error = #expect(throws: LMDBError.self) {
            try environment.write { try $0.put([2], [2], in: databases[0]) }
        }
        #expect(error?.leavesOutcomeOpen == true)
        // Reads and writes go on, and databases are who they were.
        for (index, database) in databases.enumerated() {
            #expect(try environment.value(of: [1], in: database) == [UInt8(index)])
        }
        try environment.write { try $0.put([3], [3], in: databases[2]) }
        #expect(try environment.value(of: [3], in: databases[2]) == [3])
        #expect(try environment.openDatabase("database 1") == databases[1])
        environment.close()
        let again = try scratch.environment()
        #expect(try again.value(of: [3], in: again.openDatabase("database 2")) == [3])
        again.close()
    }

    @Test func `is no uncertainty when an earlier step fails`() throws {
        #expect(!LMDBError("mdb_txn_commit", .diskFull).leavesOutcomeOpen)
        #expect(LMDBError(LMDBError.lastCommitStep, .diskFull).leavesOutcomeOpen)
    }

    @Test func `an environment whose name may not be durable is not opened`() throws {
        let scratch = Scratch()
        #expect(throws: LMDBError("fsync", .inputOutput)) {
            _ = try scratch.environment { $0.fault = { $0 == "sync" ? LMDBError("fsync", .inputOutput) : nil } }
        }
        let environment = try scratch.environment()
        environment.close()
    }
}

@Suite struct `Group commit` {
    @Test func `lets many writers share transactions, and each sees its own result`() async throws {
        let scratch = Scratch()
        let commits = Atomic<Int>(0)
        let environment = try scratch.environment {
            $0.fault = { _ in
                commits.add(1, ordering: .relaxed)
                return nil
            }
        }
        let database = try environment.openDatabase("one")
        let committer = GroupCommitter(environment, threadName: "test")
        let results = try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<500 {
                group.addTask {
                    try await committer.submit { transaction in
                        try transaction.put([UInt8(index / 256), UInt8(index % 256)], [1], in: database)
                        return index
                    }
                }
            }
            return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(results.count == 500)
        #expect(commits.load(ordering: .relaxed) < 500)
        #expect(try environment.count(of: database) == 500)
        await committer.close()
    }

    @Test func `undoes the one that throws after writing, and keeps its neighbours`() async throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        let committer = GroupCommitter(environment, threadName: "test")
        let failures = try await withThrowingTaskGroup(of: Bool.self) { group in
            for index in UInt8(0)..<200 {
                group.addTask {
                    do {
                        try await committer.submit { transaction in
                            if index % 3 == 1 { throw Refusal() }
                            try transaction.put([index], [index], in: database)
                            if index % 3 == 0 { throw Refusal() }
                        }
                        return false
                    } catch is Refusal { return true }
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(failures == 67 + 67)
        let count = try environment.count(of: database)
        #expect(count == 66)
        await committer.close()
    }

    @Test func `acknowledges nothing when the commit fails, and changes nothing`() async throws {
        let scratch = Scratch()
        let isBroken = Atomic<Bool>(false)
        let environment = try scratch.environment {
            $0.fault = { operation in
                operation == "commit" && isBroken.load(ordering: .relaxed)
                    ? LMDBError("mdb_txn_commit", .inputOutput) : nil
            }
        }
        let database = try environment.openDatabase("one")
        let committer = GroupCommitter(environment, threadName: "test")
        try await committer.submit { try $0.put([1], [1], in: database) }
        isBroken.store(true, ordering: .relaxed)
        await withTaskGroup(of: Void.self) { group in
            for index in UInt8(1)..<50 {
                group.addTask {
                    await #expect(throws: LMDBError("mdb_txn_commit", .inputOutput)) {
                        try await committer.submit { try $0.put([index], [9], in: database) }
                    }
                }
            }
        }
        isBroken.store(false, ordering: .relaxed)
        #expect(try environment.count(of: database) == 1)
        #expect(try environment.value(of: [1], in: database) == [1])
        try await committer.submit { try $0.put([1], [2], in: database) }
        await committer.close()
        await #expect(throws: GroupCommitter.Failure.closed) {
            try await committer.submit { try $0.put([1], [3], in: database) }
        }
    }

    @Test func `refuses more than may wait`() async throws {
        let scratch = Scratch()
        let environment = try scratch.environment()
        let database = try environment.openDatabase("one")
        var limits = GroupCommitter.Limits()
        limits.waitingMax = 4
        limits.waitingBytesMax = 100
        let committer = GroupCommitter(environment, threadName: "test", limits: limits)
        let gate = EventCounter()
        let isHeld = EventCounter()
        async let holder: Void = committer.submit { _ in
            isHeld.signal()
            gate.wait(upTo: .seconds(30))
        }
        isHeld.wait(upTo: .seconds(30))
        async let large: Void = committer.submit(byteCount: 1000) { try $0.put([1], [1], in: database) }
        // An empty queue takes anything; behind the large one there is no room.
        while committer.waitingCount == 0 { await Task.yield() }
        await #expect(throws: GroupCommitter.Failure.overloaded) {
            try await committer.submit(byteCount: 1) { try $0.put([2], [1], in: database) }
        }
        gate.signal()
        try await holder
        try await large
        #expect(try environment.count(of: database) == 1)
        await committer.close()
    }
}
