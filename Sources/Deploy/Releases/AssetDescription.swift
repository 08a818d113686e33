package import Assets

/// A worker's files as its configuration describes them.
package struct AssetDescription: Sendable {
    package var directory: String
    package var html = HTMLHandling.autoTrailingSlash
    package var notFound = NotFoundHandling.none
    package var workerFirst = WorkerFirstRules.never
    package var navigationPrefersAssets = true
    package var filesMax = AssetLimits.filesMax

    package init(directory: String) { self.directory = directory }
}

/// Why a directory can't be a worker's assets.
package enum AssetError: Error, Sendable, CustomStringConvertible {
    case noDirectory(String, worker: String)
    case tooManyFiles(limit: Int, directory: String)
    case fileTooLarge(String, byteCount: Int)
    case badRule(RuleFileError, directory: String)
    case nameNotUTF8(String)
    case tooDeep(String)
    case leadsOutside(String, target: String)

    package var description: String {
        switch self {
        case .noDirectory(let path, let worker):
            "worker \"\(worker)\" has its assets in \(path), which is no directory; make it, or correct assets.directory"
        case .tooManyFiles(let limit, let directory):
            "\(directory) has more than \(limit) files; leave some out in .assetsignore"
        case .fileTooLarge(let path, let byteCount):
            "\(path) has \(byteCount) bytes, and an asset at most \(AssetLimits.fileBytesMax); leave it out in .assetsignore, "
                + "or put it into a bucket"
        case .badRule(let error, let directory): "\(directory)/\(error)"
        case .nameNotUTF8(let path): "\(path) can't be opened by this name: names of assets are UTF-8"
        case .leadsOutside(let path, let target):
            "\(path) is a link to \(target), outside of the assets' directory; copy it, or leave it out in .assetsignore"
        case .tooDeep(let path): "\(path) lies too deep below the assets' directory, or in a circle of links"
        }
    }
}
