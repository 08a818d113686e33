internal import Synchronization
internal import Wire

/// A request's method and URL. One that came over the wire keeps its bytes and parses the URL only when it is asked
/// for: most handlers look at the path alone.
final class RequestStorage: Sendable {
    let method: Method
    /// The message; the URL lies inside. Empty in a constructed request.
    let block: [UInt8]
    let urlRange: Range<Int>
    let encodingRange: Range<Int>

    private final class Box<Value: Sendable>: Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }
    private let parsedURL = AtomicLazyReference<Box<WebURL>>()

    init(method: Method, url: WebURL) {
        self.method = method
        block = []
        urlRange = 0..<0
        encodingRange = 0..<0
        _ = parsedURL.storeIfNil(Box(url))
    }

    init(_ layout: FetchLayout, block: [UInt8]) {
        method = layout.method
        self.block = block
        urlRange = layout.urlRange
        encodingRange = layout.encodingRange
    }

    var url: WebURL {
        if let box = parsedURL.load() { return box.value }
        let text = String(decoding: block[urlRange], as: UTF8.self)
        // The node sends normalised URLs only; should one not parse, a harmless one stands in for it.
        guard let url = WebURL(text) ?? WebURL("http://invalid/") else {
            preconditionFailure("the stand-in is a valid URL")
        }
        return parsedURL.storeIfNil(Box(url)).value
    }

    var clientAcceptEncoding: String? {
        encodingRange.isEmpty ? nil : String(decoding: block[encodingRange], as: UTF8.self)
    }

    var path: String { unsafe withPath { unsafe String(decoding: $0, as: UTF8.self) } }

    /// Lends the bytes of the path, without query and fragment.
    func withPath<Result>(_ body: (UnsafeBufferPointer<UInt8>) throws -> Result) rethrows -> Result {
        guard !block.isEmpty else {
            var path = url.path
            return try path.withUTF8 { try unsafe body($0) }
        }
        return try unsafe block.withUnsafeBufferPointer { buffer in
            let url = unsafe UnsafeBufferPointer(rebasing: buffer[urlRange])
            return try unsafe body(UnsafeBufferPointer(rebasing: url[Self.pathRange(of: url)]))
        }
    }

    /// `scheme://host/path?query` → where the path stands.
    private static func pathRange(of url: UnsafeBufferPointer<UInt8>) -> Range<Int> {
        let slash = UInt8(ascii: "/")
        func isEnd(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#") }
        var start = unsafe min(url.count, url.firstIndex(of: slash).map { $0 + 2 } ?? url.count)
        while start < url.count, unsafe url[start] != slash, unsafe !isEnd(url[start]) { start += 1 }
        var end = start
        while end < url.count, unsafe !isEnd(url[end]) { end += 1 }
        return start..<end
    }
}
