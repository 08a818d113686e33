internal import HTTP

/// Which URLs look like files that don't change: others are kept only when somebody asks for it.
package enum CacheEligibility {
    /// https://developers.cloudflare.com/cache/concepts/default-cache-behavior/
    private static let extensions: Set<String> = [
        "7z", "apk", "avi", "avif", "bin", "bmp", "bz2", "class", "css", "csv", "dmg", "doc", "docx", "ejs", "eot", "eps",
        "exe", "flac", "gif", "gz", "ico", "iso", "jar", "jpeg", "jpg", "js", "mid", "midi", "mkv", "mp3", "mp4", "ogg",
        "otf", "pdf", "pict", "pls", "png", "ppt", "pptx", "ps", "rar", "svg", "svgz", "swf", "tar", "tif", "tiff", "ttf",
        "webm", "webp", "woff", "woff2", "xls", "xlsx", "zip", "zst",
    ]

    /// - Parameter path: of the URL, without its query.
    package static func isStatic(path: String) -> Bool {
        let name = path.utf8.lastIndex(of: 0x2F).map { path[path.utf8.index(after: $0)...] } ?? path[...]
        guard let dot = name.utf8.lastIndex(of: 0x2E) else { return false }
        return extensions.contains(name[name.utf8.index(after: dot)...].lowercased())
    }

    package static func isEligible(path: String, _ options: CacheOptions) -> Bool {
        options.everything || options.ttl != nil || !options.ttlByStatus.isEmpty || isStatic(path: path)
    }
}
