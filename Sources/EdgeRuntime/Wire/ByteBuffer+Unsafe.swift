/// A growing run of bytes with a read end and a write end: what a connection or a channel reads into and
/// writes from. One owner, one thread.
///
/// Memory is kept while it is in use and given back by `releaseIfEmpty`, so an idle connection holds none.
///
/// The short verbs are inlinable: rooms that write heads and frames call them dozens of times per request. (A
/// `package` type must be usable from inline for that, or its inlinable members stay calls, and generic ones slow.)
@safe @usableFromInline package struct ByteBuffer: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer?
    @usableFromInline var capacity = 0
    @usableFromInline var readIndex = 0
    @usableFromInline var writeIndex = 0

    package init() { unsafe base = nil }

    deinit { unsafe base?.deallocate() }

    @inlinable package var readableByteCount: Int { writeIndex - readIndex }
    @inlinable package var isEmpty: Bool { readIndex == writeIndex }
    package var allocatedByteCount: Int { capacity }

    /// Lends what can be read. The pointer dies with the closure.
    @inlinable @inline(__always)
    package func withReadable<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // SAFETY: readIndex...writeIndex lie inside the allocation and hold initialised bytes.
        guard let base = unsafe base else {
            return try unsafe body(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        return try unsafe body(UnsafeRawBufferPointer(start: base + readIndex, count: writeIndex - readIndex))
    }

    /// Marks `count` bytes as read.
    @inlinable @inline(__always)
    package mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= readableByteCount, "consumes only what was read")
        readIndex += count
        if readIndex == writeIndex {
            readIndex = 0
            writeIndex = 0
        }
    }

    /// Takes back the `count` bytes that were appended last.
    package mutating func removeLast(_ count: Int) {
        precondition(count >= 0 && count <= readableByteCount, "removes only what was appended")
        writeIndex -= count
    }

    /// Lends at least `minimum` writable bytes; `body` says how many of them it filled.
    @inlinable @inline(__always)
    package mutating func withWritable(
        atLeast minimum: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int
    ) -> Int {
        reserve(minimum)
        guard let base = unsafe base else { return 0 }
        // SAFETY: reserve left `capacity - writeIndex >= minimum` bytes behind writeIndex.
        let written = unsafe body(
            UnsafeMutableRawBufferPointer(start: base + writeIndex, count: capacity - writeIndex))
        guard written > 0 else { return written }
        precondition(written <= capacity - writeIndex, "filled no more than was lent")
        writeIndex += written
        return written
    }

    /// Makes room for `count` more bytes, moving or growing when there is too little.
    @inlinable @inline(__always)
    package mutating func reserve(_ count: Int) {
        if capacity - writeIndex < count { makeRoom(count) }
    }

    @usableFromInline @inline(never)
    mutating func makeRoom(_ count: Int) {
        let readable = readableByteCount
        if let base = unsafe base, capacity - readable >= count, readIndex >= capacity / 2 {
            // SAFETY: both ranges lie inside the allocation; memmove semantics allow overlap.
            unsafe base.copyMemory(from: base + readIndex, byteCount: readable)
        } else {
            var grown = max(capacity * 2, 4096)
            while grown - readable < count { grown *= 2 }
            let fresh = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 16)
            if let base = unsafe base {
                // SAFETY: `fresh` is a separate allocation of at least `readable` bytes.
                unsafe fresh.copyMemory(from: base + readIndex, byteCount: readable)
                unsafe base.deallocate()
            }
            unsafe base = fresh
            capacity = grown
        }
        readIndex = 0
        writeIndex = readable
    }

    /// Gives the memory back when nothing is waiting to be read.
    package mutating func releaseIfEmpty() {
        guard isEmpty, capacity > 0 else { return }
        unsafe base?.deallocate()
        unsafe base = nil
        capacity = 0
    }

    // MARK: Appending

    @inlinable @inline(__always)
    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        // SAFETY: reserve made room for bytes.count bytes behind writeIndex, in memory only we hold.
        unsafe base?.advanced(by: writeIndex).copyMemory(from: source, byteCount: bytes.count)
        writeIndex += bytes.count
    }

    package mutating func append(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    package mutating func append(_ bytes: ArraySlice<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    package mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { unsafe append(UnsafeRawBufferPointer($0)) }
    }

    @inlinable @inline(__always)
    package mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { unsafe append(UnsafeRawBufferPointer($0)) }
    }

    @inlinable @inline(__always)
    package mutating func append(_ byte: UInt8) {
        reserve(1)
        // SAFETY: as above, for one byte.
        unsafe base?.storeBytes(of: byte, toByteOffset: writeIndex, as: UInt8.self)
        writeIndex += 1
    }

    @inlinable @inline(__always)
    package mutating func appendLittleEndian<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        reserve(MemoryLayout<Value>.size)
        // SAFETY: as above; storeBytes allows any alignment.
        unsafe base?.storeBytes(of: value.littleEndian, toByteOffset: writeIndex, as: Value.self)
        writeIndex += MemoryLayout<Value>.size
    }

    /// Appends a frame header; exactly `payloadByteCount` bytes must follow.
    @inlinable @inline(__always)
    package mutating func append(_ header: FrameHeader) {
        appendLittleEndian(UInt32(header.payloadByteCount))
        appendLittleEndian(UInt32(header.kind.rawValue) | UInt32(header.flags.rawValue) << 8)
        appendLittleEndian(header.stream)
    }

    /// Appends a frame whose payload length is known only afterwards: `body` writes the payload.
    @inlinable @inline(__always)
    package mutating func appendFrame(
        _ kind: FrameKind, stream: UInt32, flags: FrameFlags = [], _ body: (inout ByteBuffer) -> Void
    ) {
        let before = readableByteCount
        append(FrameHeader(kind, stream: stream, flags: flags, payloadByteCount: 0))
        body(&self)
        let payloadByteCount = readableByteCount - before - FrameHeader.byteCount
        // SAFETY: the header was written at readIndex + before, which still lies inside the allocation.
        unsafe base?.storeBytes(
            of: UInt32(payloadByteCount).littleEndian, toByteOffset: readIndex + before, as: UInt32.self)
    }

    /// Overwrites bytes that were appended before, `offset` bytes behind the read end.
    @inlinable @inline(__always)
    package mutating func patch<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
        precondition(
            offset >= 0 && offset + MemoryLayout<Value>.size <= readableByteCount, "patches only what was written")
        // SAFETY: checked above.
        unsafe base?.storeBytes(of: value.littleEndian, toByteOffset: readIndex + offset, as: Value.self)
    }
}
