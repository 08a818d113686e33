import CTLS
import Glibc
import System
import Testing

@testable import TLS

/// A folder for one test's certificates, removed with it.
private final class Folder {
    let path: String

    init() throws {
        var template = Array("/tmp/edge-tls-XXXXXX".utf8CString)
        // SAFETY: mkdtemp replaces the Xs of the NUL-terminated array that it is lent.
        let made = unsafe template.withUnsafeMutableBufferPointer { buffer -> String? in
            guard let start = buffer.baseAddress, unsafe mkdtemp(start) != nil else { return nil }
            return unsafe String(cString: start)
        }
        path = try #require(made)
    }

    deinit {
        for name in FileTree.list(path) { try? FileTree.remove("\(path)/\(name)") }
        unsafe rmdir(path)
    }

    /// A certificate for `names` that is valid from `now` on.
    func certificate(_ file: String, _ names: [String], now: UnixTime, keyMode: UInt32 = 0o600) throws -> TLSFiles {
        let made = try SelfSignedCertificate.make(names: names, addresses: names.isEmpty ? ["127.0.0.1"] : [], now: now)
        let files = TLSFiles(certificate: "\(path)/\(file).pem", key: "\(path)/\(file).key")
        try FileTree.replaceFile(files.certificate, with: made.certificate, mode: 0o644)
        try FileTree.replaceFile(files.key, with: made.key, mode: keyMode)
        // Whatever the umask says.
        try #require(unsafe chmod(files.key, keyMode) == 0)
        return files
    }
}

@Suite struct `A TLS context` {
    let clock = VirtualClock()

    private func context(_ files: [TLSFiles], after time: Duration = .zero) throws(TLSError) -> TLSContext {
        try TLSContext(files, ticketKeys: TLSTicketKeys(clock: clock), now: clock.wallTime() + time)
    }

    @Test func `gives the certificate whose name is nearest`() throws {
        let folder = try Folder()
        let now = clock.wallTime()
        let context = try context([
            folder.certificate("default", ["localhost", "Default.Example"], now: now),
            folder.certificate("wide", ["example.com", "*.example.com"], now: now),
            folder.certificate("one", ["one.example.com", "*.example.com", "*.deep.example.com"], now: now),
        ])
        for (host, expected) in [
            ("localhost", 0), ("default.example", 0), ("example.com", 1), ("EXAMPLE.com", 1), ("two.example.com", 1),
            ("one.example.com", 2), ("x.deep.example.com", 2), ("deep.example.com", 1), ("a.b.example.com", 0),
            ("xexample.com", 0), (".example.com", 0), ("com", 0), ("", 0), ("unknown.org", 0), ("*.example.com", 1),
        ] { #expect(context.certificateIndex(for: host) == expected, "\(host)") }
        #expect(context.summaries[1].names == ["example.com", "*.example.com"])
        #expect(Set(context.summaries.map(\.fingerprint)).count == 3)
    }

    @Test func `refuses certificates outside their time`() throws {
        let folder = try Folder()
        let files = try folder.certificate("a", ["localhost"], now: clock.wallTime())
        _ = try context([files])
        _ = try context([files], after: .seconds(-3599))
        _ = try context([files], after: SelfSignedCertificate.validity - .seconds(1))
        #expect(throws: TLSError.notYetValid(files.certificate, from: clock.wallTime() + .seconds(-3600))) {
            try context([files], after: .seconds(-3601))
        }
        #expect(throws: TLSError.expired(files.certificate, since: clock.wallTime() + SelfSignedCertificate.validity)) {
            try context([files], after: SelfSignedCertificate.validity)
        }
    }

    @Test func `refuses keys that aren't secret or aren't the certificate's`() throws {
        let folder = try Folder()
        let now = clock.wallTime()
        let open = try folder.certificate("open", ["localhost"], now: now, keyMode: 0o604)
        #expect(throws: TLSError.keyIsOpen(open.key, mode: 0o604)) { try context([open]) }
        // A group may read it: that is how services share one.
        let group = try folder.certificate("group", ["localhost"], now: now, keyMode: 0o640)
        _ = try context([group])
        let mixed = TLSFiles(certificate: open.certificate, key: group.key)
        #expect(throws: TLSError.keyMismatch(mixed)) { try context([mixed]) }
        let swapped = TLSFiles(certificate: group.key, key: group.key)
        #expect(throws: TLSError.noCertificate(group.key)) { try context([swapped]) }
        try #require(unsafe chmod(group.certificate, 0o600) == 0)
        let twice = TLSFiles(certificate: group.certificate, key: group.certificate)
        #expect(throws: TLSError.noKey(group.certificate)) { try context([twice]) }
        #expect(throws: TLSError.system(SystemError("open", errno: ENOENT, on: "/none.pem"))) {
            try context([TLSFiles(certificate: "/none.pem", key: group.key)])
        }
    }

    @Test func `has names for all certificates but the first`() throws {
        let folder = try Folder()
        let now = clock.wallTime()
        let named = try folder.certificate("named", ["localhost"], now: now)
        let unnamed = try folder.certificate("unnamed", [], now: now)
        _ = try context([unnamed, named])
        #expect(throws: TLSError.namesNoHost(unnamed.certificate)) { try context([named, unnamed]) }
    }

    @Test(
        arguments: [
            (0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_735_689_599, "2024-12-31"), (4_107_542_400, "2100-03-01"),
            (-1, "1969-12-31"),
        ] as [(Int64, String)])
    func `names days`(_ seconds: Int64, _ expected: String) {
        #expect(TLSError.day(UnixTime(milliseconds: seconds * 1000)) == expected)
    }
}

@Suite struct `Session tickets` {
    /// Seals under the current key (`name` is `nil`), or asks for the key of a name.
    ///
    /// - Returns: the library's answer, and the key's name.
    private func ask(_ keys: TLSTicketKeys, _ name: [UInt8]?) throws -> (answer: Int32, name: [UInt8]) {
        let cipher = unsafe try #require(EVP_CIPHER_CTX_new())
        defer { unsafe EVP_CIPHER_CTX_free(cipher) }
        let kind = unsafe try #require(EVP_MAC_fetch(nil, "HMAC", nil))
        defer { unsafe EVP_MAC_free(kind) }
        let authentication = unsafe try #require(EVP_MAC_CTX_new(kind))
        defer { unsafe EVP_MAC_CTX_free(authentication) }
        let isSealing = name == nil
        var bytes = name ?? [UInt8](repeating: 0, count: 16)
        var iv = [UInt8](repeating: 0, count: 16)
        let answer = unsafe bytes.withUnsafeMutableBufferPointer { bytes -> Int32 in
            unsafe iv.withUnsafeMutableBufferPointer { iv -> Int32 in
                guard let name = bytes.baseAddress, let iv = iv.baseAddress else { return -2 }
                return unsafe keys.prepare(
                    name: name, iv: iv, cipher: cipher, authentication: authentication, isSealing: isSealing)
            }
        }
        return (answer, bytes)
    }

    @Test func `change their key with the hours, and are good for two`() throws {
        let clock = VirtualClock()
        let keys = TLSTicketKeys(clock: clock)
        let first = try seal(keys)
        #expect(try seal(keys) == first)
        #expect(try open(keys, first) == 1)
        clock.advance(by: .seconds(3599))
        #expect(try seal(keys) == first)
        clock.advance(by: .seconds(1))
        // Nobody has come since: the old key is good for the ticket, and the client gets a new one.
        #expect(try open(keys, first) == 2)
        let second = try seal(keys)
        #expect(second != first)
        #expect(try open(keys, second) == 1)
        #expect(try open(keys, first) == 2)
        clock.advance(by: .seconds(3600))
        let third = try seal(keys)
        #expect(try open(keys, first) == 2)
        #expect(try open(keys, second) == 2)
        clock.advance(by: .seconds(3600))
        _ = try seal(keys)
        #expect(try open(keys, first) == 0)
        #expect(try open(keys, third) == 2)
        // Keys that nobody replaced end as well.
        clock.advance(by: .seconds(3 * 3600))
        #expect(try open(keys, third) == 0)
    }

    @Test func `of another node are nobody's`() throws {
        let clock = VirtualClock()
        let name = try seal(TLSTicketKeys(clock: clock))
        #expect(try open(TLSTicketKeys(clock: clock), name) == 0)
    }

    private func seal(_ keys: TLSTicketKeys) throws -> [UInt8] {
        let (answer, name) = try ask(keys, nil)
        #expect(answer == 1)
        return name
    }

    private func open(_ keys: TLSTicketKeys, _ name: [UInt8]) throws -> Int32 { try ask(keys, name).answer }
}
