internal import SQLite
package import System
internal import TenantSQL

extension EmbeddedD1Store {
    /// The names under which the store has files.
    package func databasesOnDisk() throws(SystemError) -> [String] {
        try FileSystem.names(in: directory).filter { $0.hasSuffix(".sqlite") }.compactMap { Self.database(ofFile: $0) }.sorted()
    }

    /// Writes a database as it is now to a new file, without its history. Calls go on meanwhile.
    ///
    /// - Returns: the name that the file has in the store's directory.
    package func copy(_ database: String, to path: String) async throws(D1Failure) -> String {
        try await engine(for: database).read { connection, _, mayContinue in
            try connection.backUp(to: try SQLiteConnection(path: path, .create), mayContinue: mayContinue)
        }
        return Self.file(of: database)
    }

    /// The reverse of `file(of:)`; `nil` for a file that it names in no case.
    static func database(ofFile file: String) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(file.dropLast(".sqlite".count).utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        let name = String(decoding: bytes, as: UTF8.self)
        return Self.file(of: name) == file ? name : nil
    }
}
