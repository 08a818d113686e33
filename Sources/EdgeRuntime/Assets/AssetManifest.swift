package import HTTP

/// One file of a release's assets. What it holds never changes: another content is another file.
package struct AssetFile: Equatable, Sendable {
    /// A form of the content that was compressed beforehand.
    package struct Variant: Equatable, Sendable {
        /// The name under which the store of assets has it.
        package var name: String
        package var byteCount: Int

        package init(name: String, byteCount: Int) {
            self.name = name
            self.byteCount = byteCount
        }
    }

    /// The content's SHA-256, which is also its name in the store of assets.
    package var hash: String
    package var byteCount: Int
    /// For `Content-Type`.
    package var type: String
    package var variants: [ContentCoding: Variant]

    package init(hash: String, byteCount: Int, type: String, variants: [ContentCoding: Variant] = [:]) {
        self.hash = hash
        self.byteCount = byteCount
        self.type = type
        self.variants = variants
    }

    /// The strong entity tag: equal for equal contents, wherever they are served.
    package var entityTag: String { "\"\(hash.prefix(32))\"" }
}

/// All files of a release's assets, by path: `/folder/index.html`, not percent-encoded.
///
/// Paths are their bytes. Swift's strings are equal when they look alike: a path that rules don't know could then lead to a
/// file that they guard, and of two such files one would be lost.
package struct AssetManifest: ExpressibleByDictionaryLiteral, Sendable {
    private struct Path: Hashable {
        var text: String

        static func == (left: Path, right: Path) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

        func hash(into hasher: inout Hasher) {
            var text = text
            // SAFETY: the bytes are lent for the call, and hashed in it.
            text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }
    private var files: [Path: AssetFile] = [:]

    package init(dictionaryLiteral elements: (String, AssetFile)...) {
        for (path, file) in elements { self[path] = file }
    }

    package subscript(_ path: String) -> AssetFile? {
        get { files[Path(text: path)] }
        set { files[Path(text: path)] = newValue }
    }
}

/// What a worker's assets may be.
package enum AssetLimits {
    package static let fileBytesMax = 25 << 20
    package static let filesMax = 100_000
    package static let freeFilesMax = 20_000
    /// Smaller ones aren't worth a coding: they fit a packet or two as they are.
    package static let compressedBytesMin = 1 << 10
}
