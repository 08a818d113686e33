package import Wire

/// Stands in front of the fetch message of an `entrypointFetch` event.
package struct EntrypointHead: Equatable, Sendable {
    /// The `props` of the caller's binding: JSON, empty without any.
    package var props: String
    /// Empty: the default one.
    package var name: String

    package init(props: String, name: String) {
        self.props = props
        self.name = name
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(props)
        encoder.put(name)
    }

    /// Leaves the decoder where what follows begins.
    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        props = try decoder.takeString()
        name = try decoder.takeString()
    }
}

// In front of the message of an `rpc` event stand the `props` of the caller's binding, a string of JSON, empty without any. The answer's
// message is a byte, 0 where the result follows and 1 where it is the answer's body, and the result.

/// A call of a named method with typed arguments, to a service or an object. The reply's message is the result, encoded; either side
/// may have a stream of bytes beside it (the stream's body).
package struct RPCMessage: Equatable, Sendable {
    /// The entrypoint's name; empty for the worker's default one, and for objects.
    package var entrypoint: String
    package var method: String
    /// As `BinaryValueEncoder` writes them.
    package var arguments: [UInt8]

    /// Product limit, arguments or result.
    package static let byteCountMax = 32 << 20
    /// Above this, arguments are the first bytes of the call's body instead: see `hasArgumentsInBody`.
    package static let inlineByteCountMax = 1 << 20

    /// The arguments are the whole body.
    package var hasArgumentsInBody: Bool

    package init(entrypoint: String = "", method: String, arguments: [UInt8], hasArgumentsInBody: Bool = false) {
        self.entrypoint = entrypoint
        self.method = method
        self.arguments = arguments
        self.hasArgumentsInBody = hasArgumentsInBody
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(entrypoint)
        encoder.put(method)
        encoder.put(arguments)
        encoder.put(hasArgumentsInBody)
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        entrypoint = try decoder.takeString()
        method = try decoder.takeString()
        arguments = try decoder.takeBytes()
        hasArgumentsInBody = try decoder.takeBool()
        try decoder.finish()
    }
}
