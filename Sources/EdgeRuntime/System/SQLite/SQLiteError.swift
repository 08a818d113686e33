/// What SQLite refused or could not do. Its description is the sentence that D1 shows:
/// `near "slect": syntax error at offset 0: SQLITE_ERROR`.
package struct SQLiteError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The extended result code, e.g. 2067; its low byte is the primary code.
    package let extendedCode: Int32
    /// The library's own words.
    package let message: String
    /// The byte of the statement's text where a preparation failed.
    package let offset: Int?

    package init(extendedCode: Int32, message: String, offset: Int? = nil) {
        self.extendedCode = extendedCode
        self.message = message
        self.offset = offset
    }

    /// An error of a primary code in our own words.
    package init(_ code: Code, message: String) {
        self.init(extendedCode: code.rawValue, message: message)
    }

    /// The primary codes that callers tell apart (https://www.sqlite.org/rescode.html).
    package enum Code: Int32, Sendable {
        case error = 1
        case internalError, permission, abort, busy, locked, outOfMemory, readOnly, interrupted, inputOutput
        case corrupt, notFound, full, cannotOpen, lockingProtocol, empty, schema, tooBig, constraint, mismatch
        case misuse, noLargeFiles, notAuthorized, format, range, notADatabase
    }

    /// Whether the file isn't what it should be: its pages are damaged, or can't be read.
    package var isDamage: Bool { code == .corrupt || code == .notADatabase || code == .inputOutput }

    package var code: Code { Code(rawValue: extendedCode & 0xff) ?? .error }

    /// `SQLITE_CONSTRAINT`.
    package var codeName: String { Self.primaryNames[extendedCode & 0xff] ?? "SQLITE_ERROR" }

    /// `SQLITE_CONSTRAINT_UNIQUE`; `nil` when the extended code says no more than the primary one.
    package var extendedCodeName: String? {
        guard extendedCode > 0xff, let details = Self.extendedNames[extendedCode & 0xff] else { return nil }
        let index = Int(extendedCode >> 8) - 1
        guard details.indices.contains(index), !details[index].isEmpty else { return nil }
        return "\(codeName)_\(details[index])"
    }

    package var description: String {
        var text = message
        if let offset { text += " at offset \(offset)" }
        text += ": \(codeName)"
        if let extendedCodeName { text += " (extended: \(extendedCodeName))" }
        return text
    }

    private static let primaryNames: [Int32: String] = [
        0: "SQLITE_OK", 1: "SQLITE_ERROR", 2: "SQLITE_INTERNAL", 3: "SQLITE_PERM", 4: "SQLITE_ABORT",
        5: "SQLITE_BUSY", 6: "SQLITE_LOCKED", 7: "SQLITE_NOMEM", 8: "SQLITE_READONLY",
        9: "SQLITE_INTERRUPT", 10: "SQLITE_IOERR", 11: "SQLITE_CORRUPT", 12: "SQLITE_NOTFOUND",
        13: "SQLITE_FULL", 14: "SQLITE_CANTOPEN", 15: "SQLITE_PROTOCOL", 16: "SQLITE_EMPTY",
        17: "SQLITE_SCHEMA", 18: "SQLITE_TOOBIG", 19: "SQLITE_CONSTRAINT", 20: "SQLITE_MISMATCH",
        21: "SQLITE_MISUSE", 22: "SQLITE_NOLFS", 23: "SQLITE_AUTH", 24: "SQLITE_FORMAT",
        25: "SQLITE_RANGE", 26: "SQLITE_NOTADB", 27: "SQLITE_NOTICE", 28: "SQLITE_WARNING",
        100: "SQLITE_ROW", 101: "SQLITE_DONE",
    ]

    /// By primary code; place n is the name of `primary | (n + 1) << 8`. A gap is an empty text.
    private static let extendedNames: [Int32: [String]] = [
        1: ["MISSING_COLLSEQ", "RETRY", "SNAPSHOT"],
        4: ["", "ROLLBACK"],
        5: ["RECOVERY", "SNAPSHOT", "TIMEOUT"],
        6: ["SHAREDCACHE", "VTAB"],
        8: ["RECOVERY", "CANTLOCK", "ROLLBACK", "DBMOVED", "CANTINIT", "DIRECTORY"],
        10: [
            "READ", "SHORT_READ", "WRITE", "FSYNC", "DIR_FSYNC", "TRUNCATE", "FSTAT", "UNLOCK", "RDLOCK",
            "DELETE", "BLOCKED", "NOMEM", "ACCESS", "CHECKRESERVEDLOCK", "LOCK", "CLOSE", "DIR_CLOSE",
            "SHMOPEN", "SHMSIZE", "SHMLOCK", "SHMMAP", "SEEK", "DELETE_NOENT", "MMAP", "GETTEMPPATH",
            "CONVPATH", "VNODE", "AUTH", "BEGIN_ATOMIC", "COMMIT_ATOMIC", "ROLLBACK_ATOMIC", "DATA",
            "CORRUPTFS",
        ],
        11: ["VTAB", "SEQUENCE", "INDEX"],
        14: ["NOTEMPDIR", "ISDIR", "FULLPATH", "CONVPATH", "DIRTYWAL", "SYMLINK"],
        19: [
            "CHECK", "COMMITHOOK", "FOREIGNKEY", "FUNCTION", "NOTNULL", "PRIMARYKEY", "TRIGGER", "UNIQUE",
            "VTAB", "ROWID", "PINNED", "DATATYPE",
        ],
        23: ["USER"],
    ]
}
