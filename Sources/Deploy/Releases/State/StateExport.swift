internal import FoundationEssentials
internal import Glibc
internal import OpenSSL
internal import Stores
internal import System

/// An archive of tenants on its way out: a tape archive whose first member says what it is, and whose last one, `SHA256SUMS`,
/// has the digest of each member, as `sha256sum --check` reads it. Equal stores make equal archives.
///
/// Written by ourselves: of the format, regular files are all that is needed, and a library would read and write far more.
package final class StateExport: BodySource {
    private let threads = IOThreads(count: 1, name: "edge-export")
    private let writer: ArchiveWriter

    private init(_ writer: ArchiveWriter) { self.writer = writer }

    /// Takes all stores; nothing is sent before that has succeeded.
    package static func begin(_ runners: [ReleaseRunner], in state: StateDirectory) async throws -> StateExport {
        let directory = try state.makeWorkDirectory("export")
        var snapshots: [TenantSnapshot] = []
        do {
            for runner in runners.sorted(by: { $0.tenant < $1.tenant }) {
                let place = "\(directory)/\(runner.tenant)"
                try FileTree.makeDirectory(place, mode: 0o700)
                let copies = place + "/objects"
                try FileTree.makeDirectory(copies, mode: 0o700)
                let objects = try await runner.snapshotObjects(to: copies)
                var snapshot = try await runner.stores.snapshot(to: place, control: state.controlDatabase)
                snapshot.add(objects)
                snapshots.append(snapshot)
            }
            return StateExport(try ArchiveWriter(snapshots, in: directory))
        } catch {
            for snapshot in snapshots { snapshot.release() }
            try? FileTree.removeTree(directory)
            throw error
        }
    }

    package func next() async throws -> [UInt8]? {
        try await threads.run { [writer] in try writer.next() }
    }

    package func cancel() {
        threads.submit { [writer] in writer.close() }
    }

    deinit {
        threads.submit { [writer] in writer.close() }
        threads.close()
    }
}

/// What the archive says of itself, as its first member.
struct ArchiveDescription: Codable, Equatable {
    static let path = "edge-archive.json"
    static let sumsPath = "SHA256SUMS"
    static let format = "edge-archive 1"

    var format = Self.format
    var tenants: [String]

    var json: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        // Texts always encode.
        return (try? encoder.encode(self)).map { Array($0) + [0x0A] } ?? []
    }
}

/// Writes an archive's bytes, one piece after the other. Used by one thread at a time.
private final class ArchiveWriter: @unchecked Sendable {  // The export's one thread uses it, and nobody else.
    private let snapshots: [TenantSnapshot]
    private let directory: String
    private var waiting: [ArchiveMember]
    /// The next portion of files of buckets: of which snapshot, and which.
    private var portion = 0
    private var current: OpenMember?
    private let sums: Descriptor
    private var sumsByteCount: Int64 = 0
    private enum Phase { case members, sums, ended, closed }
    private var phase = Phase.members

    private static let pieceBytesMax = 256 << 10

    private final class OpenMember {
        let path: String
        let file: Descriptor
        let byteCount: Int64
        var offset: Int64 = 0
        var digest = Digest(.sha256)

        init(_ member: String, file path: String, byteCount: Int64) throws(SystemError) {
            self.path = member
            self.byteCount = byteCount
            file = try FileTree.openFile(path, flags: O_RDONLY)
        }
    }

    init(_ snapshots: [TenantSnapshot], in directory: String) throws(SystemError) {
        self.snapshots = snapshots
        self.directory = directory
        waiting = [
            ArchiveMember(
                path: ArchiveDescription.path, content: .bytes(ArchiveDescription(tenants: snapshots.map(\.tenant)).json))
        ]
        sums = try FileTree.openFile(directory + "/sums", flags: O_RDWR | O_CREAT | O_EXCL)
        waiting += snapshots.flatMap(\.members)
    }

    func next() throws -> [UInt8]? {
        if let current { return try read(current) }
        switch phase {
        case .members:
            guard let member = try nextMember() else {
                phase = .sums
                let header = TarHeader.file(ArchiveDescription.sumsPath, byteCount: sumsByteCount)
                current = try OpenMember(ArchiveDescription.sumsPath, file: directory + "/sums", byteCount: sumsByteCount)
                return header
            }
            return try begin(member)
        case .sums:
            phase = .ended
            return TarHeader.end
        case .ended, .closed:
            close()
            return nil
        }
    }

    private func nextMember() throws -> ArchiveMember? {
        while waiting.isEmpty {
            let (index, number) = (portion / TenantSnapshot.portionCount, portion % TenantSnapshot.portionCount)
            guard index < snapshots.count else { return nil }
            waiting = try snapshots[index].members(inPortion: number)
            portion += 1
        }
        return waiting.removeFirst()
    }

    private func begin(_ member: ArchiveMember) throws -> [UInt8] {
        let header = TarHeader.file(member.path, byteCount: member.byteCount)
        switch member.content {
        case .bytes(let bytes):
            try addSum(Digest.hash(bytes, with: .sha256), member.path)
            return header + bytes + TarHeader.padding(after: member.byteCount)
        case .file(let path, let byteCount):
            let opened = try OpenMember(member.path, file: path, byteCount: byteCount)
            if byteCount == 0 { try end(opened) } else { current = opened }
            return header
        }
    }

    private func read(_ member: OpenMember) throws -> [UInt8] {
        let wanted = Int(min(Int64(Self.pieceBytesMax), member.byteCount - member.offset))
        let piece = try member.file.read(at: member.offset, count: wanted)
        guard piece.count == wanted else { throw SystemError("read", errno: EIO, on: "\(member.path), which became shorter") }
        member.offset += Int64(piece.count)
        if phase == .members { member.digest.update(piece) }
        guard member.offset == member.byteCount else { return piece }
        current = nil
        if phase == .members { try end(member) }
        return piece + TarHeader.padding(after: member.byteCount)
    }

    private func end(_ member: OpenMember) throws {
        var digest = Digest(.sha256)
        swap(&digest, &member.digest)
        try addSum(digest.finish(), member.path)
    }

    private func addSum(_ digest: [UInt8], _ path: String) throws(SystemError) {
        let line = Array("\(Hexadecimal.text(digest))  \(path)\n".utf8)
        try sums.writeAll(line, on: directory + "/sums")
        sumsByteCount += Int64(line.count)
    }

    /// Gives back what the archive held.
    func close() {
        guard phase != .closed else { return }
        phase = .closed
        current = nil
        waiting = []
        for snapshot in snapshots { snapshot.release() }
        // What stays behind is removed at the next start.
        try? FileTree.removeTree(directory)
    }
}
