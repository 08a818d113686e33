import Glibc

/// What the status page says, as the node would read it.
struct StatusSnapshot {
    let turn: UInt64
    let stream: UInt32
    let channel: UInt32
    let nanoseconds: UInt64

    init(_ descriptor: Int32) {
        var words: [UInt64] = [0, 0, 0]
        _ = unsafe words.withUnsafeMutableBytes { unsafe pread(descriptor, $0.baseAddress, $0.count, 0) }
        turn = words[0]
        stream = UInt32(truncatingIfNeeded: words[1])
        channel = UInt32(truncatingIfNeeded: words[1] >> 32)
        nanoseconds = words[2]
    }
}
