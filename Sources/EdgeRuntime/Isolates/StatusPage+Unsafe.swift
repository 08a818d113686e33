internal import CLinux
internal import Glibc
package import System

/// The page of memory on which an isolate says what it is doing. The isolate writes, the node reads, and
/// nothing on it is believed further than it can be checked.
///
///     0   u64  turn: odd while handler code runs, even while the isolate waits; one more at each change
///     8   u32  stream, 12 u32 channel: the event whose code runs
///     16  u64  nanoseconds of handler code in total
///
/// Safe on any thread: the mapping lives as long as the object, can't fault (the memory is sealed
/// against shrinking), and is only read, one aligned word at a time.
@safe package final class StatusPage: @unchecked Sendable {
    package static let byteCount = 4096
    private let base: UnsafeRawPointer

    /// Maps `memory`, which stays the caller's.
    init(_ memory: borrowing Descriptor) throws(SystemError) {
        // SAFETY: a new mapping at an address of the kernel's choice; unmapped in deinit, used by nobody
        // else.
        let address = unsafe mmap(nil, Self.byteCount, PROT_READ, MAP_SHARED, memory.rawValue, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw SystemError("mmap", errno: errno, on: "status page")
        }
        unsafe base = UnsafeRawPointer(address)
    }

    /// A page that nobody writes, for what stands for an isolate in tests.
    package init() throws(SystemError) {
        // SAFETY: as above; anonymous memory is zero.
        let address = unsafe mmap(nil, Self.byteCount, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw SystemError("mmap", errno: errno, on: "status page")
        }
        unsafe base = UnsafeRawPointer(address)
    }

    deinit { unsafe _ = munmap(UnsafeMutableRawPointer(mutating: base), Self.byteCount) }

    package var turn: UInt64 { word(at: 0) }

    /// The event whose code runs, or ran last.
    package var event: EventReference {
        let word = word(at: 8)
        return EventReference(channel: Int(word >> 32), stream: UInt32(truncatingIfNeeded: word))
    }

    package var runNanoseconds: UInt64 { word(at: 16) }

    /// SAFETY: the offset is one of the aligned words above, inside the mapping.
    private func word(at offset: Int) -> UInt64 {
        UInt64(littleEndian: unsafe edge_load_acquire(base + offset))
    }
}
