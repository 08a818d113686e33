package import Configuration
internal import Glibc
internal import OpenSSL
internal import System

/// A platform's folder made ready to be sent: a tape archive of all that a release is made from, in the order of the names, so
/// that equal folders make equal bundles. The executables aren't in it: `products` names them by their content.
///
/// Whoever makes it removes the file.
package struct BundleArchive: Sendable {
    /// An executable as the bundle means it.
    package struct Product: Equatable, Sendable {
        package let name: String
        /// Where it lies on this machine.
        package let path: String
        /// SHA-256, in hexadecimal digits.
        package let hash: String
        package let byteCount: Int64
    }

    /// That of the bundle that a node makes of it.
    package let hash: String
    package let path: String
    package let products: [Product]

    /// Gathers a project's files and writes the archive to `path`; blocks.
    ///
    /// - Parameters:
    ///   - wanted: The environment that is to be deployed: its workers must have been built. Those that only others have are
    ///     taken along where they were.
    ///   - others: The environments of the project that can be read.
    ///   - executable: Where a product lies.
    package static func make(
        project directory: String, for wanted: EffectiveConfiguration, others: [EffectiveConfiguration],
        executable: (String) -> String, to path: String
    ) throws -> BundleArchive {
        var contents = try BundleContents(project: directory)
        for configuration in [wanted] + others {
            try contents.add(configuration, isRequired: configuration.environment == wanted.environment)
        }
        let products = try Self.products(wanted, others, executable)
        try contents.add(BundleLayout.products, Array(BundleLayout.text(of: products).utf8))
        return BundleArchive(hash: try contents.write(to: path), path: path, products: products)
    }

    private static func products(
        _ wanted: EffectiveConfiguration, _ others: [EffectiveConfiguration], _ executable: (String) -> String
    ) throws -> [Product] {
        var found: [String: Product] = [:]
        for configuration in [wanted] + others {
            for worker in configuration.workers where worker.isEnabled && !worker.product.isEmpty && found[worker.product] == nil {
                let path = executable(worker.product)
                guard FileTree.status(path)?.kind == .file else {
                    guard configuration.environment == wanted.environment else { continue }
                    throw ReleaseError.badExecutable(
                        worker: worker.name, path: path, reason: "it does not exist; was it built?")
                }
                var digest = Digest(.sha256)
                let byteCount = try BundleContents.read(path) { digest.update($0) }
                found[worker.product] = Product(
                    name: worker.product, path: path, hash: Hexadecimal.text(digest.finish()), byteCount: byteCount)
            }
        }
        return found.values.sorted { $0.name < $1.name }
    }
}

/// Where things lie in a bundle.
enum BundleLayout {
    /// A line for each executable: its SHA-256, two spaces, its product's name.
    static let products = "products"
    private static let outside = "outside"

    static let filesMax = 100_000
    static let byteCountMax: Int64 = 1 << 30
    static let pathBytesMax = 1024
    private static let depthMax = 80

    /// Where a directory of the project is in its bundle: where it is in the project; what lies outside has a place of its own.
    static func place(of directory: String) -> String {
        var parts: [Substring] = []
        var leaves = directory.hasPrefix("/")
        for part in directory.split(separator: "/") where part != "." {
            guard part == ".." else {
                parts.append(part)
                continue
            }
            if parts.popLast() == nil { leaves = true }
        }
        let path = parts.joined(separator: "/")
        guard leaves || path.hasPrefix(outside + "/") || path == outside else { return path }
        return "\(outside)/" + String(Hexadecimal.text(Digest.hash(directory, with: .sha256)).prefix(16))
    }

    /// Whether a directory lies in the project itself.
    static func isInside(_ directory: String) -> Bool { !place(of: directory).hasPrefix(outside + "/") }

    /// Whether a member of an archive may have this name: nothing that leads out of the bundle, or means a file twice.
    static func isPath(_ path: String) -> Bool {
        guard (1...pathBytesMax).contains(path.utf8.count), !path.unicodeScalars.contains("\u{FFFD}"), !path.utf8.contains(0)
        else { return false }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count <= depthMax && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.count <= 255 }
    }

    static func isHash(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    static func text(of products: [BundleArchive.Product]) -> String {
        products.map { "\($0.hash)  \($0.name)\n" }.joined()
    }

    /// The hashes of executables, by product.
    static func read(products text: String) throws(BundleError) -> [String: String] {
        var hashes: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1).map { $0.drop { $0 == " " } }
            guard parts.count == 2, isHash(String(parts[0])), !parts[1].isEmpty, hashes[String(parts[1])] == nil else {
                throw .badProducts(String(line))
            }
            hashes[String(parts[1])] = String(parts[0])
        }
        return hashes
    }
}

/// Why something is no bundle.
package enum BundleError: Error, Equatable, Sendable, CustomStringConvertible {
    case badPath(String)
    case twice(String)
    case tooManyFiles(Int)
    case tooLarge(Int64)
    case noShape
    case badProducts(String)
    /// A configuration names a folder of migrations that is none of the project's.
    case migrationsOutside(String)
    case otherHash(String, wanted: String)
    case unknown(String)
    /// Executables that nobody has brought.
    case missingArtifacts([String])
    case changing(String)

    package var description: String {
        switch self {
        case .badPath(let path): "the bundle has a member that leads nowhere: \(path.prefix(200))"
        case .twice(let path): "the bundle has \(path.prefix(200)) more than once"
        case .tooManyFiles(let limit): "the bundle has more than \(limit) files; leave assets out in .assetsignore"
        case .tooLarge(let limit): "the bundle has more than \(limit) bytes; leave assets out in .assetsignore"
        case .noShape: "the bundle has no wrangler-like.toml"
        case .badProducts(let line): "the bundle's list of executables has a line that is no \"<sha256>  <product>\": \(line.prefix(200))"
        case .migrationsOutside(let directory):
            "the migrations in \(directory) lie outside of the project, and a release keeps what it is made from: move them into "
                + "it"
        case .otherHash(let found, let wanted): "the bundle came as \(found), and was to be \(wanted)"
        case .unknown(let hash): "there is no bundle \(hash)"
        case .missingArtifacts(let names): "executables were not uploaded: \(names.joined(separator: ", "))"
        case .changing(let path): "\(path) changed while it was read: try again"
        }
    }
}

/// The files of a bundle, before they are one.
struct BundleContents {
    private enum Content {
        case file(String)
        case bytes([UInt8])
    }
    private let directory: String
    private let loader: ConfigurationLoader
    private var members: [String: Content] = [:]

    init(project directory: String) throws {
        self.directory = directory
        loader = ConfigurationLoader(directory: directory)
        let (files, failures) = loader.read()
        if let failure = failures.first { throw DeploymentFailure(failure.description) }
        guard let files else { throw BundleError.noShape }
        members[files.shape.name] = .bytes(files.shape.bytes)
        for source in files.environments.values { members[source.name] = .bytes(source.bytes) }
    }

    /// Adds the folders that a configuration names.
    ///
    /// - Parameter isRequired: Whether a folder that isn't there is a mistake, or another environment's affair.
    mutating func add(_ configuration: EffectiveConfiguration, isRequired: Bool) throws {
        for worker in configuration.workers where worker.isEnabled {
            for binding in worker.bindings {
                guard case .d1(_, let migrations?) = binding.target else { continue }
                guard BundleLayout.isInside(migrations.directory) else {
                    throw BundleError.migrationsOutside(migrations.directory)
                }
                for file in loader.migrationFiles(migrations) ?? [] {
                    try add(
                        Self.join(BundleLayout.place(of: migrations.directory), file),
                        at: "\(directory)/\(migrations.directory)/\(file)")
                }
            }
            if let assets = worker.assets { try add(assets, isRequired) }
        }
    }

    private mutating func add(_ assets: AssetSettings, _ isRequired: Bool) throws {
        let location = assets.directory.hasPrefix("/") ? assets.directory : "\(directory)/\(assets.directory)"
        guard FileTree.status(location)?.kind == .directory else {
            guard isRequired else { return }
            throw DeploymentFailure("there is no folder \(location), which a worker has its assets in")
        }
        let place = BundleLayout.place(of: assets.directory)
        let folder = try AssetDirectory(AssetDescription(directory: location))
        for file in try folder.files() { try add(Self.join(place, String(file.path.dropFirst())), at: file.location) }
        // What says how the files are served, and isn't served itself.
        for name in ["_headers", "_redirects", ".assetsignore"] where FileTree.exists("\(location)/\(name)") {
            try add(Self.join(place, name), Array(try folder.text(name).utf8))
        }
    }

    private static func join(_ place: String, _ name: String) -> String { place.isEmpty ? name : "\(place)/\(name)" }

    private mutating func add(_ path: String, at location: String) throws {
        try check(path)
        if members[path] == nil { members[path] = .file(location) }
    }

    mutating func add(_ path: String, _ bytes: [UInt8]) throws {
        try check(path)
        if case .file? = members[path] { throw BundleError.twice(path) }
        members[path] = .bytes(bytes)
    }

    private func check(_ path: String) throws(BundleError) {
        guard BundleLayout.isPath(path) else { throw .badPath(path) }
        guard members.count < BundleLayout.filesMax else { throw .tooManyFiles(BundleLayout.filesMax) }
    }

    /// Writes the archive.
    ///
    /// - Returns: the bundle's hash.
    func write(to path: String) throws -> String {
        let archive = try FileTree.openFile(path, flags: O_WRONLY | O_CREAT | O_TRUNC)
        var sums = BundleSums()
        for (name, content) in members.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            switch content {
            case .bytes(let bytes):
                try sums.add(name, byteCount: Int64(bytes.count), Digest.hash(bytes, with: .sha256))
                try archive.writeAll(
                    TarHeader.file(name, byteCount: Int64(bytes.count)) + bytes + TarHeader.padding(after: Int64(bytes.count)),
                    on: path)
            case .file(let location):
                // The length stands before the bytes.
                let byteCount = Int64(FileTree.status(location)?.byteCount ?? 0)
                try archive.writeAll(TarHeader.file(name, byteCount: byteCount), on: path)
                var digest = Digest(.sha256)
                let written = try Self.read(location) { piece in
                    digest.update(piece)
                    try archive.writeAll(piece, on: path)
                }
                guard written == byteCount else { throw BundleError.changing(location) }
                try archive.writeAll(TarHeader.padding(after: byteCount), on: path)
                try sums.add(name, byteCount: byteCount, digest.finish())
            }
        }
        try archive.writeAll(TarHeader.end, on: path)
        return sums.hash
    }

    /// Hands over a file piece by piece.
    ///
    /// - Returns: how long it is.
    static func read(_ path: String, _ body: ([UInt8]) throws -> Void) throws -> Int64 {
        let file = try FileTree.openFile(path, flags: O_RDONLY)
        var offset: Int64 = 0
        while true {
            let piece = try file.read(at: offset, count: 1 << 20)
            if piece.isEmpty { return offset }
            try body(piece)
            offset += Int64(piece.count)
        }
    }
}

/// The files of a bundle as `sha256sum` lists them: what the bundle's own hash is made of. The order in which they come doesn't
/// matter.
struct BundleSums {
    private var sums: [String: String] = [:]
    private var byteCount: Int64 = 0
    /// Folders that files lie in.
    private var folders: Set<String> = []

    /// Notes a file that is to come: its name, and its length.
    mutating func begin(_ path: String, byteCount: Int64) throws(BundleError) {
        guard BundleLayout.isPath(path) else { throw .badPath(path) }
        guard sums[path] == nil else { throw .twice(path) }
        guard !folders.contains(path) else { throw .badPath(path) }
        var folder = path
        while let slash = folder.lastIndex(of: "/") {
            folder = String(folder[..<slash])
            guard sums[folder] == nil else { throw .badPath(path) }
            guard folders.insert(folder).inserted else { break }
        }
        guard sums.count < BundleLayout.filesMax else { throw .tooManyFiles(BundleLayout.filesMax) }
        guard byteCount >= 0, byteCount <= BundleLayout.byteCountMax - self.byteCount else {
            throw .tooLarge(BundleLayout.byteCountMax)
        }
        self.byteCount += byteCount
        sums[path] = ""
    }

    mutating func end(_ path: String, _ digest: [UInt8]) { sums[path] = Hexadecimal.text(digest) }

    mutating func add(_ path: String, byteCount: Int64, _ digest: [UInt8]) throws(BundleError) {
        try begin(path, byteCount: byteCount)
        end(path, digest)
    }

    func has(_ path: String) -> Bool { sums[path] != nil }

    var hash: String {
        var digest = Digest(.sha256)
        for (path, sum) in sums.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            digest.update(Array("\(sum)  \(path)\n".utf8))
        }
        return Hexadecimal.text(digest.finish())
    }
}
