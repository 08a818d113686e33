/// What can be stored: text, bytes, a stream whose length is known, or nothing (`[]`).
public protocol R2Value {
    /// The value as a stream with a `length`; `nil` when the length isn't known.
    func r2Stream() -> (stream: ByteStream?, byteCount: Int)?
}

extension String: R2Value {
    public func r2Stream() -> (stream: ByteStream?, byteCount: Int)? {
        let bytes = Array(utf8)
        return (bytes.isEmpty ? nil : ByteStream(bytes), bytes.count)
    }
}

extension [UInt8]: R2Value {
    public func r2Stream() -> (stream: ByteStream?, byteCount: Int)? {
        (isEmpty ? nil : ByteStream(self), count)
    }
}

extension ByteStream: R2Value {
    public func r2Stream() -> (stream: ByteStream?, byteCount: Int)? {
        length.map { (self, $0) }
    }
}
