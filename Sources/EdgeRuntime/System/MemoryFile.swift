internal import CLinux
internal import Glibc

/// Bytes that another process can be given as a descriptor.
package struct MemoryFile: ~Copyable {
    private let descriptor: Descriptor

    package init(_ bytes: [UInt8]) throws(SystemError) {
        let number = unsafe edge_memfd("edge-bytes")
        guard number >= 0 else { throw SystemError("memfd_create", errno: errno) }
        let file = Descriptor(owning: number)
        try file.writeAll(bytes, on: "memory")
        descriptor = file
    }

    package var rawValue: Int32 { descriptor.rawValue }
}
