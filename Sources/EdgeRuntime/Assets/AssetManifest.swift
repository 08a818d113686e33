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
package typealias AssetManifest = [String: AssetFile]

extension AssetManifest {
    /// The file of `path`, byte for byte: for Swift, strings are equal when they look alike, and a path that rules don't
    /// know could then lead to a file that they guard.
    func file(at path: String) -> AssetFile? {
        guard let place = index(forKey: path), self[place].key.utf8.elementsEqual(path.utf8) else { return nil }
        return self[place].value
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
