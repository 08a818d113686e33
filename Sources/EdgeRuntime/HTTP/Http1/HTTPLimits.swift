/// How much of everything a peer may send in a message's frame, each with its reason.
package struct HTTPLimits: Equatable, Sendable {
    /// The request target (414): the product's documented 16 KB.
    package var targetBytesMax = 16 << 10
    /// Start line, fields and the empty line together (431): the product's documented 128 KB.
    package var headBytesMax = 128 << 10
    /// Fields of a head (431): far above any browser, and it bounds every loop over fields.
    package var fieldsMax = 256
    /// A field's name (431). Names are rescanned when a line arrives in pieces, so they stay short.
    package var fieldNameBytesMax = 1 << 10
    /// A method's name (501): no registered method is longer than 17.
    package var methodBytesMax = 32
    /// Names that `Connection` lists besides its own options (431): each is looked up among the fields.
    package var connectionNamesMax = 32
    /// One chunk's extensions (400). In all, a body has this much for free and then a byte for each of its
    /// own.
    package var chunkExtensionBytesMax = 4 << 10
    /// The trailer section (431).
    package var trailerBytesMax = 16 << 10
    /// Fields of the trailer section (431).
    package var trailersMax = 64

    package init() {}
}
