internal import Glibc
internal import OpenSSL
internal import System

/// The key that secrets are sealed with: 32 bytes. Describes itself by where it comes from.
struct SecretKey: Sendable, CustomStringConvertible, CustomReflectable {
    let bytes: [UInt8]
    /// Tells keys apart in the database, and nothing about them.
    let id: [UInt8]
    let origin: String

    init(_ bytes: [UInt8], from origin: String) throws(SecretError) {
        guard bytes.count == AuthenticatedCipher.keyByteCount else { throw .wrongKeyLength(origin, bytes.count) }
        self.bytes = bytes
        id = Array(Digest.hash(Array("edge secret key".utf8) + bytes, with: .sha256).prefix(8))
        self.origin = origin
    }

    var description: String { origin }
    var customMirror: Mirror { Mirror(self, children: []) }
}

/// Where the key of an environment's secrets comes from. Never the state directory: a copy of the state alone opens nothing.
package enum SecretKeySource: Sendable {
    /// 32 bytes, mode 0600; made with the first secret. Beside it, while the key is changed, stands the next one.
    case file(String)
    /// A file that somebody else makes, such as a credential of systemd; never made or replaced here.
    case readOnlyFile(String)
    /// `EDGE_SECRET_KEY`, and `EDGE_SECRET_KEY_PREVIOUS` while the key is changed: 64 hex digits each.
    case values(present: String, previous: String?)

    static let presentName = "EDGE_SECRET_KEY"
    static let previousName = "EDGE_SECRET_KEY_PREVIOUS"

    /// The first of: a file that was named, `EDGE_SECRET_KEY`, the credential `edge-secret-key` of systemd (systemd.exec(5),
    /// "Credentials"), the user's own file for the environment.
    package static func find(named path: String?, environment: String) -> SecretKeySource {
        if let path { return .file(path) }
        if let present = variable(presentName) { return .values(present: present, previous: variable(previousName)) }
        if let directory = variable("CREDENTIALS_DIRECTORY"), FileTree.exists(directory + "/edge-secret-key") {
            return .readOnlyFile(directory + "/edge-secret-key")
        }
        return .file("\(variable("HOME") ?? "/root")/.config/edge/\(environment).key")
    }

    private static func variable(_ name: String) -> String? {
        // SAFETY: getenv's result is copied at once.
        unsafe getenv(name).map { unsafe String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    static func nextPath(_ path: String) -> String { path + ".next" }

    /// All keys that may be in use, the present one first; empty where it was never made.
    func keys() throws -> [SecretKey] {
        switch self {
        case .file(let path):
            return try [path, Self.nextPath(path)].compactMap { path in
                FileTree.exists(path) ? try Self.read(path) : nil
            }
        case .readOnlyFile(let path): return [try Self.read(path)]
        case .values(let present, let previous):
            return try [(present, Self.presentName), (previous ?? "", Self.previousName)].compactMap { text, name in
                text.isEmpty ? nil : try Self.decode(text, name)
            }
        }
    }

    var place: String {
        switch self {
        case .file(let path), .readOnlyFile(let path): path
        case .values: Self.presentName
        }
    }

    private static func read(_ path: String) throws -> SecretKey {
        var status = stat()
        // SAFETY: stat fills the struct whose address it is given.
        guard unsafe stat(path, &status) == 0 else { throw SystemError("stat", errno: errno, on: path) }
        guard status.st_mode & 0o077 == 0 else { throw SecretError.readableByOthers(path) }
        return try SecretKey(try FileTree.read(path), from: path)
    }

    private static func decode(_ text: String, _ name: String) throws(SecretError) -> SecretKey {
        let digits = text.utf8.compactMap { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || isLetter($0) ? $0 : nil }
        guard digits.count == text.utf8.count, digits.count == 2 * AuthenticatedCipher.keyByteCount else {
            throw .badKeyText(name)
        }
        let bytes = stride(from: 0, to: digits.count, by: 2).map { value(digits[$0]) << 4 | value(digits[$0 + 1]) }
        return try SecretKey(bytes, from: name)
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x66).contains(byte | 0x20) }

    private static func value(_ digit: UInt8) -> UInt8 { digit < 0x3A ? digit - 0x30 : (digit | 0x20) - 0x61 + 10 }
}
