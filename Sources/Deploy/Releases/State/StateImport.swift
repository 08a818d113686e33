internal import FoundationEssentials
internal import Glibc
internal import OpenSSL
package import Stores
internal import System

/// An archive on its way in: written beside the present state, checked whole, and then put into its place.
package struct StateImport: Sendable {
    package let tenants: [String]
    private let replacement: StateReplacement

    /// Reads an archive of `StateExport` and compares all its digests. Nothing of the present state is touched.
    ///
    /// - Parameters:
    ///   - wanted: The only tenant that it may have; `nil` for all those in `known`.
    ///   - secrets: Whether its secrets are taken over, too.
    /// - Throws: `ArchiveError` for an archive that can't be taken over.
    package static func receive(
        _ body: any BodySource, wanted: String?, known: Set<String>, secrets: Secrets, in state: StateDirectory
    ) async throws -> StateImport {
        let replacement = try StateReplacement(in: state)
        let threads = IOThreads(count: 1, name: "edge-import")
        defer { threads.close() }
        do {
            let reader = ArchiveReceiver(replacement, threads)
            let tenants = try await reader.run(TarReader(body), wanted: wanted, known: known)
            try await threads.run {
                for tenant in tenants { try Self.check(tenant, replacement, secrets, state) }
            }
            return StateImport(tenants: tenants, replacement: replacement)
        } catch {
            try? await threads.run { () throws(SystemError) in try replacement.discard() }
            throw error
        }
    }

    package enum Secrets: Sendable { case replace, keep }

    /// State for one tenant that has nothing in it; its secrets stay.
    package static func empty(_ tenant: String, in state: StateDirectory) throws -> StateImport {
        let replacement = try StateReplacement(in: state)
        try FileTree.makeDirectory(replacement.path(of: tenant), mode: 0o700)
        return StateImport(tenants: [tenant], replacement: replacement)
    }

    /// Puts it into the place of what is there, tenant by tenant, each out of service meanwhile.
    package func apply(to runners: [ReleaseRunner]) async throws {
        let replacement = replacement
        let threads = IOThreads(count: 1, name: "edge-import")
        defer { threads.close() }
        var isDecided = false
        var failure: (any Error)?
        for runner in runners where tenants.contains(runner.tenant) {
            let (tenant, decides) = (runner.tenant, !isDecided)
            do {
                try await runner.withStoresClosed {
                    // Not before: a tenant that can't leave service now keeps what it has.
                    if decides { try replacement.decide() }
                    try replacement.apply(to: tenant)
                }
                isDecided = true
            } catch {
                guard isDecided || replacement.isDecided else {
                    try? await threads.run { () throws(SystemError) in try replacement.discard() }
                    throw error
                }
                isDecided = true
                // One that fails must not keep the others from what was decided.
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        try await threads.run { () throws(SystemError) in try replacement.discard() }
    }

    /// Formats that this node can't read, and secrets that it can't open. Blocks.
    private static func check(
        _ tenant: String, _ replacement: StateReplacement, _ secrets: Secrets, _ state: StateDirectory
    ) throws {
        // Archives of a time without durable objects have none.
        let objects = replacement.path(of: tenant) + "/objects"
        let stores = TenantStores.exported + (FileTree.exists(objects) ? [.objects] : [])
        for store in stores {
            let found = try FileTree.readTextIfPresent("\(replacement.path(of: tenant))/\(store.rawValue)/format") ?? ""
            let format = found.split(separator: "\n").first.map(String.init) ?? ""
            guard format == store.format else { throw ArchiveError.otherFormat(format, expected: store.format) }
        }
        try ObjectArchive.find(in: replacement.path(of: tenant))?.check(tenant, in: state.controlDatabase)
        let path = replacement.recordsPath(of: tenant)
        guard secrets == .replace else { return try FileTree.remove(path) }
        guard FileTree.exists(path) else { throw ArchiveError.notOurs("control.json of \(tenant) is missing") }
        let records = try TenantRecords(json: try FileTree.read(path))
        guard let key = try records.foreignKeys(in: state.controlDatabase).first else { return }
        throw ArchiveError.foreignKey(key, tenant: tenant)
    }
}

/// Writes an archive's members to where they belong, and compares their digests with the list at the end.
private struct ArchiveReceiver {
    private let replacement: StateReplacement
    private let threads: IOThreads

    private static let textBytesMax: Int64 = 64 << 20
    private static let pieceBytesMax = 256 << 10

    init(_ replacement: StateReplacement, _ threads: IOThreads) {
        self.replacement = replacement
        self.threads = threads
    }

    func run(_ tar: TarReader, wanted: String?, known: Set<String>) async throws -> [String] {
        guard let first = try await tar.next(), first.path == ArchiveDescription.path else {
            throw ArchiveError.notOurs("its first member isn't \(ArchiveDescription.path)")
        }
        let text = try await bytes(of: first, tar)
        guard let description = try? JSONDecoder().decode(ArchiveDescription.self, from: Data(text)) else {
            throw ArchiveError.notOurs("\(ArchiveDescription.path) can't be read")
        }
        guard description.format == ArchiveDescription.format else {
            throw ArchiveError.otherFormat(description.format, expected: ArchiveDescription.format)
        }
        if let wanted, description.tenants != [wanted] { throw ArchiveError.otherTenant(description.tenants, wanted: wanted) }
        for tenant in description.tenants where !known.contains(tenant) { throw ArchiveError.noTenant(tenant) }
        let sums = SumsFile(replacement.directory + "/sums")
        try await sums.add(Digest.hash(text, with: .sha256), first.path, on: threads)
        while let entry = try await tar.next() {
            guard entry.path != ArchiveDescription.sumsPath else {
                try await compare(tar, sums)
                guard try await tar.next() == nil else { throw ArchiveError.unexpectedMember("behind \(entry.path)") }
                return description.tenants
            }
            let place = try place(of: entry.path, description.tenants)
            try await sums.add(try await write(entry, tar, to: place), entry.path, on: threads)
        }
        throw ArchiveError.noSums
    }

    /// Where a member belongs. A path from outside decides about names below one directory, and about nothing else.
    private func place(of path: String, _ tenants: [String]) throws(ArchiveError) -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 3, parts[0] == "tenants", tenants.contains(parts[1]),
            parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && !$0.utf8.contains(0) })
        else { throw .unexpectedMember(path) }
        if parts.count == 3, parts[2] == "control.json" { return replacement.recordsPath(of: parts[1]) }
        let stores = TenantStores.exported + [.objects]
        guard parts.count >= 4, stores.contains(where: { $0.rawValue == parts[2] }) else {
            throw .unexpectedMember(path)
        }
        return "\(replacement.path(of: parts[1]))/\(parts[2...].joined(separator: "/"))"
    }

    private func bytes(of entry: TarHeader.Entry, _ tar: TarReader) async throws -> [UInt8] {
        guard entry.byteCount <= Self.textBytesMax else { throw ArchiveError.unexpectedMember(entry.path) }
        var bytes: [UInt8] = []
        while true {
            let piece = try await tar.read(max: Self.pieceBytesMax)
            if piece.isEmpty { return bytes }
            bytes += piece
        }
    }

    /// - Returns: the digest.
    private func write(_ entry: TarHeader.Entry, _ tar: TarReader, to path: String) async throws -> [UInt8] {
        let file = try await threads.run { () throws(SystemError) in
            try FileTree.makeDirectory(path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ".", mode: 0o700)
            return WrittenFile(try FileTree.openFile(path, flags: O_WRONLY | O_CREAT | O_EXCL), path)
        }
        var digest = Digest(.sha256)
        while true {
            let piece = Array(try await tar.read(max: Self.pieceBytesMax))
            if piece.isEmpty { return digest.finish() }
            digest.update(piece)
            try await threads.run { () throws(SystemError) in try file.write(piece) }
        }
    }

    private final class WrittenFile: Sendable {
        private let descriptor: Descriptor
        private let path: String

        init(_ descriptor: consuming Descriptor, _ path: String) {
            self.descriptor = descriptor
            self.path = path
        }

        func write(_ bytes: [UInt8]) throws(SystemError) { try descriptor.writeAll(bytes, on: path) }
    }

    /// The list that the archive has must be the one that its members make, line by line.
    private func compare(_ tar: TarReader, _ sums: SumsFile) async throws {
        var offset: Int64 = 0
        while true {
            let piece = Array(try await tar.read(max: Self.pieceBytesMax))
            if piece.isEmpty { break }
            let at = offset
            let own = try await threads.run { () throws(SystemError) in try sums.read(at: at, count: piece.count) }
            guard own == piece else {
                throw ArchiveError.wrongSum(Self.name(at: zip(own, piece).prefix { $0 == $1 }.count, own))
            }
            offset += Int64(piece.count)
        }
        guard offset == sums.byteCount else { throw ArchiveError.wrongSum(ArchiveDescription.sumsPath) }
    }

    /// The path in the line around a place.
    private static func name(at index: Int, _ lines: [UInt8]) -> String {
        let start = lines[..<index].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        let line = String(decoding: lines[start...].prefix { $0 != 0x0A }, as: UTF8.self)
        return line.count > 66 ? String(line.dropFirst(66)) : ArchiveDescription.sumsPath
    }
}

/// The digests of what came, on the disk: there may be many. Used by one task.
private final class SumsFile: @unchecked Sendable {  // The receiving task uses it, one step after the other.
    private let path: String
    private(set) var byteCount: Int64 = 0

    init(_ path: String) { self.path = path }

    func add(_ digest: [UInt8], _ member: String, on threads: IOThreads) async throws {
        let line = Array("\(Hexadecimal.text(digest))  \(member)\n".utf8)
        byteCount += Int64(line.count)
        let path = path
        try await threads.run { () throws(SystemError) in
            try FileTree.openFile(path, flags: O_WRONLY | O_CREAT | O_APPEND).writeAll(line, on: path)
        }
    }

    func read(at offset: Int64, count: Int) throws(SystemError) -> [UInt8] {
        try FileTree.openFile(path, flags: O_RDONLY).read(at: offset, count: count)
    }
}
