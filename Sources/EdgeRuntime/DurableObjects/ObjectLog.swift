internal import Glibc
internal import System

/// The log of an object's file, open to be made durable.
final class ObjectLog {
    private let descriptor: Descriptor

    init(_ path: String) throws(SystemError) { descriptor = try FileTree.openFile(path, flags: O_RDWR | O_CREAT, mode: 0o600) }

    var number: Int32 { descriptor.rawValue }
}
