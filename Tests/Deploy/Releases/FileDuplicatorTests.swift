import Foundation
import Glibc
import System
import Testing

@testable import Releases

/// Copies of a state: what they share, and what they take.
@Suite struct `Files of a copy` {
    private let source: String
    private let target: String

    init() throws {
        let place = NSTemporaryDirectory() + "edge-copies-\(UUID().uuidString)"
        try FileTree.makeDirectory(place, mode: 0o700)
        (source, target) = (place + "/source", place + "/target")
        try FileTree.makeFile(source, with: Array("0123456789".utf8), mode: 0o600)
    }

    private var copied: String? { get throws { try FileTree.readTextIfPresent(target) } }
    private func inode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int
    }

    /// A file system that can't refer to another file's blocks.
    private static func noClone(_ source: Int32, _ target: Int32) -> Bool { false }

    @Test func `what never changes is shared by name`() throws {
        var files = FileDuplicator()
        try files.share(source, as: target, byteCount: 10)
        #expect(try inode(source) == inode(target))
        #expect((files.sharedByteCount, files.copiedByteCount) == (10, 0))
    }

    @Test(arguments: [EMLINK, EPERM, EXDEV, EOPNOTSUPP]) func `without links it is copied`(number: Int32) throws {
        var files = FileDuplicator(link: { _, _ in number }, clone: Self.noClone)
        try files.share(source, as: target, byteCount: 10)
        #expect(try copied == "0123456789")
        #expect(try inode(source) != inode(target))
        #expect((files.sharedByteCount, files.copiedByteCount) == (0, 10))
    }

    @Test func `what was removed meanwhile is left out, and other errors are told`() throws {
        var files = FileDuplicator(link: { _, _ in ENOENT })
        try files.share(source, as: target, byteCount: 10)
        #expect(try copied == nil)
        files = FileDuplicator(link: { _, _ in ENOSPC })
        #expect(throws: SystemError.self) { try files.share(source, as: target, byteCount: 10) }
        #expect((files.sharedByteCount, files.copiedByteCount) == (0, 0))
    }

    @Test func `what is referred to takes nothing, and ends where the file did`() throws {
        // As ioctl_ficlone(2) does: all of the file, with what was added since.
        var files = FileDuplicator(clone: { source, target in
            let file = FileHandle(fileDescriptor: target, closeOnDealloc: false)
            return source >= 0 && (try? file.write(contentsOf: Data("0123456789 and more".utf8))) != nil
        })
        try files.copy(source, to: target, byteCount: 10)
        #expect(try copied == "0123456789")
        #expect((files.sharedByteCount, files.copiedByteCount) == (10, 0))
    }

    @Test func `what grows is copied as it was, and what shrinks is no copy`() throws {
        var files = FileDuplicator(clone: Self.noClone)
        try files.copy(source, to: target, byteCount: 4)
        #expect(try copied == "0123")
        #expect((files.sharedByteCount, files.copiedByteCount) == (0, 4))
        #expect(throws: SystemError.self) { try files.copy(source, to: target + "2", byteCount: 11) }
        // Nothing is written over.
        #expect(throws: SystemError.self) { try files.copy(source, to: target, byteCount: 10) }
        #expect(files.copiedByteCount == 4)
    }

    @Test func `a copy leaves the node the room that it needs to be ready`() throws {
        let reserve: Int64 = 256 << 20
        try StateClone.checkRoom(for: 1000, free: reserve + 1000)
        for free in [reserve + 999, 0, nil] {
            #expect(throws: RehearsalError.self) { try StateClone.checkRoom(for: 1000, free: free) }
        }
        let error = RehearsalError.noSpace(needed: 1000, free: 5, reserve: reserve)
        #expect("\(error)".contains("1000") && "\(error)".contains("5"))
    }
}
