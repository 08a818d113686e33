/// A place in the bytes that a parser was given, counted from their start. It stays right when the bytes move
/// in memory, and wrong as soon as some of them are consumed.
@usableFromInline
package struct ByteRange: Equatable, Sendable {
    @usableFromInline let offset32: UInt32
    @usableFromInline let count32: UInt32

    package static let empty = ByteRange(offset: 0, count: 0)

    @inlinable @inline(__always)
    package init(offset: Int, count: Int) {
        offset32 = UInt32(truncatingIfNeeded: offset)
        count32 = UInt32(truncatingIfNeeded: count)
    }

    @inlinable @inline(__always) package var offset: Int { Int(offset32) }
    @inlinable @inline(__always) package var count: Int { Int(count32) }
    @inlinable @inline(__always) package var end: Int { offset + count }
    @inlinable @inline(__always) package var isEmpty: Bool { count32 == 0 }
    @inlinable @inline(__always) package var range: Range<Int> { offset..<end }
}

extension RawSpan {
    /// The bytes of `range`, copied as text; what is no UTF-8 becomes U+FFFD.
    package func text(_ range: ByteRange) -> String {
        // SAFETY: extracting checks the bounds; the pointer stays in the closure.
        unsafe extracting(range.range).withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }
}
