import Glibc
import Interfaces
import LMDB
import StoresKV
import System
import Testing

/// What goes wrong.
enum DiskFault: String, CaseIterable, CustomTestStringConvertible {
    case sync = "fdatasync fails"
    case diskFull = "the disk is full"
    case shortWrite = "a write is cut short"
    case lastStep = "the last page isn't written"

    var testDescription: String { rawValue }
}

/// What a step of a write on its way to the disk can do: each fails requests, and neither the store nor what it has promised.
@Suite struct `KV on a failing disk` {
    @Test(arguments: DiskFault.allCases)
    func `answers with an error, and loses nothing acknowledged`(fault: DiskFault) async throws {
        let isBroken = Switch()
        let fixture = try KVFixture(fault: {
            isBroken.isOn && fault == .sync && $0 == "commit" ? LMDBError("fdatasync", .inputOutput) : nil
        })
        let kv = try fixture.namespace()
        let long = String(repeating: "x", count: 512)
        let before = Array(repeating: UInt8(1), count: 50_000)
        for key in ["a", "b", long] { try await kv.put(key, before, expirationTtl: 600, metadata: 1) }
        let usage = try await fixture.store.usage()

        isBroken.isOn = true
        let harm = try Harm(fault, path: fixture.path + "/kv/data.mdb")
        let refusals = await withTaskGroup(of: String?.self) { group in
            for index in 0..<16 {
                let key = index % 2 == 0 ? "a" : "new \(index)"
                group.addTask { await failure { try await kv.put(key, [UInt8](repeating: 2, count: 200_000)) }?.message }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(refusals.contains("KV PUT failed: 500 Internal Server Error"))
        if fault != .lastStep {
            // Other than after the last step, nothing can have been written.
            #expect(refusals.allSatisfy { $0 == "KV PUT failed: 500 Internal Server Error" })
            // What needs no new page is within the limit that cuts a write.
            if fault != .shortWrite {
                #expect(await failure { try await kv.delete("b") }?.message == "KV DELETE failed: 500 Internal Server Error")
            }
            #expect(try await kv.get("a", .bytes) == before)
            #expect(try await fixture.store.usage() == usage)
        }
        #expect(try await kv.get("b", .bytes) == before)
        harm.end()
        isBroken.isOn = false

        for key in ["b", long] { #expect(try await kv.get(key, .bytes) == before) }
        let findings = try await fixture.store.verify().findings
        #expect(findings == [])
        try await kv.put("after", "v")
        await fixture.store.close()
        let again = try KVFixture.open(fixture.path, fixture.clock)
        let reopened = try fixture.namespace(of: again)
        for key in ["b", long] { #expect(try await reopened.get(key, .bytes) == before) }
        #expect(try await reopened.get("after") == "v")
        let later = try await again.verify().findings
        #expect(later == [])
        await again.close()
    }

    @Test func `refuses writes at the end of its map, and goes on reading and deleting`() async throws {
        let fixture = try KVFixture(options: {
            $0.environment.mapByteCount = 4 << 20
            $0.environment.mapByteCountMax = 4 << 20
        })
        let kv = try fixture.namespace()
        var acknowledged = 0
        while await failure({ try await kv.put("\(acknowledged)", [UInt8](repeating: 1, count: 100_000)) }) == nil {
            acknowledged += 1
        }
        #expect((10..<42).contains(acknowledged))
        #expect(try await fixture.store.usage().keyCount == acknowledged)
        try await kv.delete("0")
        try await kv.delete("1")
        for index in 2..<acknowledged { #expect(try await kv.get("\(index)", .bytes)?.count == 100_000) }
        try await kv.put("small", "v")
        let findings = try await fixture.store.verify().findings
        #expect(findings == [])
    }
}

/// Harm that is done to the file below liblmdb, until its end.
private struct Harm {
    private var descriptor: Int32?
    private var saved: Int32?
    private var limit: rlimit?

    init(_ fault: DiskFault, path: String) throws {
        switch fault {
        case .sync: break  // The environment is told to fail.
        case .diskFull:
            // Each write to it fails with ENOSPC.
            try replace(Self.find(path, isSynchronous: false), by: "/dev/full", O_RDWR)
        case .lastStep:
            // The one that was opened with O_DSYNC. liblmdb closes it when the environment is opened anew.
            try replace(Self.find(path, isSynchronous: true), by: path, O_RDONLY)
            close(saved ?? -1)
            saved = nil
        case .shortWrite:
            signal(SIGXFSZ, SIG_IGN)
            var status = stat()
            // SAFETY: both calls fill the struct that they are lent.
            try #require(unsafe stat(path, &status) == 0)
            var old = rlimit()
            try #require(unsafe getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &old) == 0)
            limit = old
            // In the middle of a page, so that the write that reaches it is cut and doesn't fail.
            var new = rlimit(rlim_cur: rlim_t(status.st_size) + 6000, rlim_max: old.rlim_max)
            try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &new) == 0)
        }
    }

    private mutating func replace(_ number: Int32, by path: String, _ flags: Int32) throws {
        saved = dup(number)
        descriptor = number
        let other = unsafe open(path, flags)
        defer { close(other) }
        try #require(dup2(other, number) == number)
    }

    func end() {
        if let saved, let descriptor {
            dup2(saved, descriptor)
            close(saved)
        }
        if var limit { unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) }
    }

    private static func find(_ path: String, isSynchronous: Bool) throws -> Int32 {
        var buffer = [CChar](repeating: 0, count: 4096)
        for number in Int32(0)..<4096 {
            let count = unsafe readlink("/proc/self/fd/\(number)", &buffer, buffer.count)
            guard count > 0 else { continue }
            let target = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard target == path, (fcntl(number, F_GETFL) & O_DSYNC != 0) == isSynchronous else { continue }
            return number
        }
        throw CallFailure("\(path) is not open")
    }
}
