import Glibc
import Releases
import SQLite
import System
import Testing

@Suite struct `Secret store` {
    private struct End: Error {}

    /// A directory with a state and keys beside it.
    private final class Place {
        let path: String
        var database: String { path + "/control.sqlite" }
        var keyFile: String { path + "/keys/staging.key" }

        init() throws {
            var template = Array("/tmp/edge-secrets-XXXXXX".utf8CString)
            // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
            path = unsafe template.withUnsafeMutableBufferPointer { buffer in
                guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return "/nonexistent" }
                return unsafe String(cString: start)
            }
        }

        func store(_ tenant: String = "one", key: SecretKeySource? = nil) throws -> SecretStore {
            try SecretStore(database: database, key: key ?? .file(keyFile), tenant: tenant)
        }

        deinit {
            for name in FileTree.list(path + "/keys") { unsafe unlink(path + "/keys/" + name) }
            unsafe rmdir(path + "/keys")
            for name in FileTree.list(path) { unsafe unlink(path + "/" + name) }
            unsafe rmdir(path)
        }
    }

    private let time = UnixTime(milliseconds: 1_800_000_000_000)

    private func fill(_ place: Place) throws {
        let (one, two) = (try place.store(), try place.store("two"))
        try one.put("A", of: "*", value: "value a", at: time)
        try one.put("A", of: "auth", value: "value of auth", at: time)
        try two.put("A", of: "*", value: "value of two", at: time)
    }

    private func check(_ place: Place, key: SecretKeySource? = nil) throws {
        let (one, two) = (try place.store(key: key), try place.store("two", key: key))
        #expect(try one.secret("A", of: "any") == "value a")
        #expect(try one.secret("A", of: "auth") == "value of auth")
        #expect(try two.secret("A", of: "auth") == "value of two")
        #expect(try one.secret("B", of: "any") == nil)
    }

    @Test func `seals all tenants' secrets with a new key, and the old one opens nothing any more`() throws {
        let place = try Place()
        try fill(place)
        let old = try FileTree.read(place.keyFile)
        #expect(try place.store().changeKey() == 3)
        try check(place)
        #expect(try FileTree.read(place.keyFile) != old)
        #expect(FileTree.list(place.path + "/keys") == ["staging.key"])
        try FileTree.replaceFile(place.keyFile, with: old, mode: 0o600)
        #expect(throws: SecretError.self) { _ = try place.store().secret("A", of: "any") }
        #expect(throws: SecretError.self) { try place.store().put("B", of: "*", value: "b", at: time) }
    }

    @Test(arguments: SecretStore.KeyChangeStep.allCases)
    func `a change of the key can end at any step, and goes on later`(step: SecretStore.KeyChangeStep) throws {
        let place = try Place()
        try fill(place)
        #expect(throws: End.self) { _ = try place.store().changeKey { if $0 == step { throw End() } } }
        try check(place)
        // Writes go on, also by those who opened the store before.
        let open = try place.store("three")
        try open.put("C", of: "*", value: "in between", at: time)
        #expect(try place.store("three").secret("C", of: "any") == "in between")
        // Once more, and to the end.
        #expect(throws: End.self) { _ = try place.store().changeKey { if $0 == step { throw End() } } }
        try check(place)
        _ = try place.store().changeKey()
        try check(place)
        #expect(try open.secret("C", of: "any") == "in between")
        #expect(FileTree.list(place.path + "/keys") == ["staging.key"])
        try open.put("C", of: "*", value: "afterwards", at: time)
        try check(place)
        #expect(try place.store("three").secret("C", of: "any") == "afterwards")
    }

    @Test func `opens, and seals anew, what was stored before keys had names`() throws {
        let place = try Place()
        try fill(place)
        do {
            let sqlite = try SQLiteConnection(path: place.database, .create)
            try sqlite.execute("ALTER TABLE tenant_secrets DROP COLUMN key_id; DROP TABLE secret_key;")
        }
        try check(place)
        #expect(try place.store().changeKey() == 3)
        try check(place)
    }

    @Test func `changes nothing when a secret can't be opened`() throws {
        let (place, other) = (try Place(), try Place())
        try fill(place)
        try fill(other)
        let key = try FileTree.read(place.keyFile)
        try FileTree.replaceFile(place.keyFile, with: FileTree.read(other.keyFile), mode: 0o600)
        #expect(throws: SecretError.self) { _ = try place.store().changeKey() }
        try FileTree.replaceFile(place.keyFile, with: key, mode: 0o600)
        try check(place)
    }

    @Test func `takes keys from values, both while they change`() throws {
        let place = try Place()
        let (first, second) = (String(repeating: "0a", count: 32), String(repeating: "B1", count: 32))
        func source(_ present: String, _ previous: String? = nil) -> SecretKeySource {
            .values(present: present, previous: previous)
        }
        try place.store(key: source(first)).put("A", of: "*", value: "value", at: time)
        #expect(throws: SecretError.self) { _ = try place.store(key: source(second)).secret("A", of: "any") }
        let both = try place.store(key: source(second, first))
        #expect(try both.secret("A", of: "any") == "value")
        #expect(throws: End.self) { _ = try both.changeKey { if $0 == .commit { throw End() } } }
        #expect(try place.store(key: source(first)).secret("A", of: "any") == "value")
        #expect(try both.changeKey() == 1)
        #expect(try place.store(key: source(second)).secret("A", of: "any") == "value")
        #expect(throws: SecretError.self) { _ = try place.store(key: source(first)).secret("A", of: "any") }
        for bad in ["", "0a", second + "0", String(repeating: "0g", count: 32)] {
            #expect(throws: SecretError.self) { try place.store(key: source(bad)).put("B", of: "*", value: "b", at: time) }
        }
    }

    @Test func `neither makes nor replaces a file that is somebody else's`() throws {
        let place = try Place()
        #expect(throws: (any Error).self) {
            try place.store(key: .readOnlyFile(place.keyFile)).put("A", of: "*", value: "value", at: time)
        }
        #expect(!FileTree.exists(place.keyFile))
        try fill(place)
        let store = try place.store(key: .readOnlyFile(place.keyFile))
        try store.put("B", of: "*", value: "b", at: time)
        #expect(throws: SecretError.self) { _ = try store.changeKey() }
        #expect(FileTree.list(place.path + "/keys") == ["staging.key"])
    }

    @Test func `shows no key in any description`() throws {
        let text = String(repeating: "5e", count: 32)
        let place = try Place()
        let store = try place.store(key: .values(present: text + "5e", previous: nil))
        let error = #expect(throws: SecretError.self) { try store.put("A", of: "*", value: "the value", at: time) }
        #expect(error.map { !"\($0)".contains("5e5e") } == true)
        try fill(place)
        try FileTree.replaceFile(place.keyFile, with: [UInt8](repeating: 1, count: 32), mode: 0o600)
        let wrong = #expect(throws: SecretError.self) { _ = try place.store().secret("A", of: "any") }
        #expect(wrong.map { !"\($0)".contains("value a") } == true)
    }
}
