/// The headers of a tape archive in the form of POSIX ("ustar", with "pax" records for what doesn't fit): regular files alone,
/// owned by nobody, from 1970, so that equal files make equal archives.
/// https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html
enum TarHeader {
    static let blockByteCount = 512
    /// Two empty blocks end an archive.
    static let end = [UInt8](repeating: 0, count: 2 * blockByteCount)

    private static let nameBytesMax = 100
    /// Eleven octal digits.
    private static let byteCountMax: Int64 = 0o77777777777

    /// What stands before the bytes of a file.
    static func file(_ path: String, byteCount: Int64) -> [UInt8] {
        var records = ""
        if path.utf8.count > nameBytesMax { records += record("path", path) }
        if byteCount > byteCountMax { records += record("size", String(byteCount)) }
        let plain = block(String(decoding: path.utf8.prefix(nameBytesMax), as: UTF8.self), min(byteCount, byteCountMax), "0")
        guard !records.isEmpty else { return plain }
        let extra = Array(records.utf8)
        return block("pax", Int64(extra.count), "x") + extra + padding(after: Int64(extra.count)) + plain
    }

    /// What stands behind the bytes of a file, to the end of the block.
    static func padding(after byteCount: Int64) -> [UInt8] {
        [UInt8](repeating: 0, count: Int((512 - byteCount % 512) % 512))
    }

    /// A record counts its own length.
    private static func record(_ key: String, _ value: String) -> String {
        let rest = " \(key)=\(value)\n"
        var count = rest.utf8.count
        while String(count).utf8.count + rest.utf8.count != count { count = String(count).utf8.count + rest.utf8.count }
        return String(count) + rest
    }

    private static func block(_ name: String, _ byteCount: Int64, _ kind: Character) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: blockByteCount)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
        }
        put(name, at: 0)
        put("0000600\0", at: 100)
        put("0000000\0", at: 108)
        put("0000000\0", at: 116)
        put(octal(byteCount, digits: 11) + "\0", at: 124)
        put(octal(0, digits: 11) + "\0", at: 136)
        put("        ", at: 148)
        put(String(kind), at: 156)
        put("ustar\u{0}00", at: 257)
        let sum = block.reduce(0) { $0 + Int64($1) }
        put(octal(sum, digits: 6) + "\0 ", at: 148)
        return block
    }

    private static func octal(_ value: Int64, digits: Int) -> String {
        let text = String(value, radix: 8)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    // MARK: Reading

    struct Entry: Equatable {
        enum Kind: Equatable { case file, records, other(UInt8) }
        let path: String
        let byteCount: Int64
        let kind: Kind
    }

    /// - Returns: `nil` for an empty block.
    /// - Throws: for anything that is no header.
    static func read(_ block: [UInt8]) throws(ArchiveError) -> Entry? {
        guard block.count == blockByteCount else { throw .cutShort }
        if block.allSatisfy({ $0 == 0 }) { return nil }
        let sum = block.enumerated().reduce(Int64(0)) { $0 + Int64((148..<156).contains($1.offset) ? 0x20 : $1.element) }
        guard number(block[148..<156]) == sum, block[257..<262].elementsEqual("ustar".utf8),
            let byteCount = number(block[124..<136])
        else { throw .noHeader }
        let name = text(block[0..<100])
        let prefix = text(block[345..<500])
        let kind: Entry.Kind =
            switch block[156] {
            case UInt8(ascii: "0"), 0: .file
            case UInt8(ascii: "x"): .records
            case let other: .other(other)
            }
        return Entry(path: prefix.isEmpty ? name : "\(prefix)/\(name)", byteCount: byteCount, kind: kind)
    }

    private static func text(_ field: ArraySlice<UInt8>) -> String { String(decoding: field.prefix { $0 != 0 }, as: UTF8.self) }

    private static func number(_ field: ArraySlice<UInt8>) -> Int64? {
        let digits = field.drop { $0 == 0x20 }.prefix { (0x30...0x37).contains($0) }
        return digits.isEmpty ? nil : Int64(String(decoding: digits, as: UTF8.self), radix: 8)
    }

    /// The records of an extended header, by key.
    static func records(_ bytes: [UInt8]) throws(ArchiveError) -> [String: String] {
        var found: [String: String] = [:]
        var rest = bytes[...]
        while !rest.isEmpty {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard (1...6).contains(digits.count), let count = Int(String(decoding: digits, as: UTF8.self)), count <= rest.count,
                count > digits.count + 2, rest[rest.startIndex + count - 1] == 0x0A
            else { throw .noHeader }
            let record = rest.prefix(count - 1).dropFirst(digits.count + 1)
            guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else { throw .noHeader }
            found[String(decoding: record[..<equals], as: UTF8.self)] =
                String(decoding: record[record.index(after: equals)...], as: UTF8.self)
            rest = rest.dropFirst(count)
        }
        return found
    }
}

/// Why an archive can't be taken over. Nothing was changed then.
package enum ArchiveError: Error, Equatable, Sendable, CustomStringConvertible {
    case cutShort
    case noHeader
    case notOurs(String)
    case otherFormat(String, expected: String)
    case unexpectedMember(String)
    case wrongSum(String)
    case noSums
    /// Of another tenant than the one that was to get it.
    case otherTenant([String], wanted: String)
    case noTenant(String)
    /// A class of durable objects that this node doesn't have.
    case noClass(String, worker: String)
    /// Its secrets are sealed with a key that this node does not use.
    case foreignKey(String, tenant: String)

    package var description: String {
        switch self {
        case .cutShort: "the archive is cut short: was the export or its copy interrupted?"
        case .noHeader: "this is no tape archive, or a damaged one"
        case .notOurs(let why): "this is no archive of `edge state export`: \(why)"
        case .otherFormat(let found, let expected):
            "the archive has the format \"\(found)\", this node knows \"\(expected)\": use the version that wrote it"
        case .unexpectedMember(let path): "the archive has a member that doesn't belong there: \(path)"
        case .wrongSum(let path): "\(path) in the archive isn't what was exported (its SHA-256 differs): take another copy"
        case .noSums: "the archive has no SHA256SUMS at its end: was the export or its copy interrupted?"
        case .otherTenant(let found, let wanted): "the archive is of \(found.joined(separator: ", ")), not of \(wanted)"
        case .noTenant(let name): "the archive has the tenant \"\(name)\", which this node doesn't: create it first"
        case .noClass(let name, let worker):
            "the archive has objects of the class \(name) of worker \"\(worker)\", which isn't in service here: deploy it first"
        case .foreignKey(let key, let tenant):
            "the secrets of \(tenant) in the archive are sealed with the key \(key), and this node uses another one: change the key of "
                + "one of the two first, or import without secrets (--keep-secrets)"
        }
    }
}
