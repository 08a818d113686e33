package import Wire

extension ByteBuffer {
    /// Appends a date as headers carry it: 29 bytes. Make it once per second and keep the bytes.
    package mutating func appendHTTPDate(_ unixSeconds: Int64) {
        append(HTTPDate(unixSeconds: unixSeconds).bytes)
    }
}
