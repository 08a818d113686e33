internal import Glibc
internal import Synchronization

/// The memory in which the isolate tells the node's watchdog, without a system call, what it is doing:
///
///     offset  0  u64  turn: odd while handler code runs; changes whenever other code begins to run
///     offset  8  u32  stream of the event whose code runs, offset 12 u32 index of its channel
///     offset 16  u64  nanoseconds that handler code ran in total
@safe struct StatusPage: ~Copyable {
    static let byteCount = 4096

    private let base: UnsafeMutableRawPointer
    private let isMapped: Bool
    private var turn: UInt64 = 0
    private var total: UInt64 = 0

    /// Maps the page that `descriptor` stands for.
    init?(mapping descriptor: Int32) {
        // SAFETY: a fresh shared mapping of the given size; nobody else holds the address.
        guard
            let address = unsafe mmap(
                nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            unsafe address != MAP_FAILED
        else { return nil }
        unsafe base = address
        isMapped = true
    }

    /// A page that nobody watches.
    init() {
        unsafe base = .allocate(byteCount: Self.byteCount, alignment: 16)
        unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCount)
        isMapped = false
    }

    deinit {
        if isMapped { unsafe munmap(base, Self.byteCount) } else { unsafe base.deallocate() }
    }

    /// Handler code of another event begins to run, or the first one of a turn.
    @inline(__always)
    mutating func begin(stream: UInt32, channel: UInt32) {
        turn = (turn &+ 1) | 1
        store(UInt64(stream) | UInt64(channel) << 32, at: 8)
        store(turn, at: 0)
    }

    /// No handler code runs.
    @inline(__always)
    mutating func rest() {
        guard turn & 1 == 1 else { return }
        turn &+= 1
        store(turn, at: 0)
    }

    @inline(__always)
    mutating func add(nanoseconds: UInt64) {
        total &+= nanoseconds
        store(total, at: 16)
    }

    @inline(__always)
    private func store(_ value: UInt64, at offset: Int) {
        // SAFETY: the offset lies in the page and is aligned; the node reads the word atomically at the same time, which
        // is why it is written so. Little-endian machines only, as the wire's layout says.
        unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
            .store(value, ordering: .releasing)
    }
}
