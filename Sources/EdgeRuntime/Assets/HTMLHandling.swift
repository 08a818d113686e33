/// How a path with or without `.html`, `index` and a slash at its end finds its file.
package enum HTMLHandling: String, CaseIterable, Sendable {
    case autoTrailingSlash = "auto-trailing-slash"
    case forceTrailingSlash = "force-trailing-slash"
    case dropTrailingSlash = "drop-trailing-slash"
    case none
}

/// What a path gets that no file has.
package enum NotFoundHandling: String, CaseIterable, Sendable {
    case none
    case notFoundPage = "404-page"
    case singlePageApplication = "single-page-application"
}

/// What the files have for a path.
package enum AssetOutcome: Equatable, Sendable {
    /// The file of this path.
    case file(String)
    /// The page for what isn't there.
    case notFoundPage(String)
    /// The file is served under another path, which is to be asked for.
    case redirect(String)
}

/// Finds what a path gets: the table of the four ways to handle HTML. A redirect leads only where the file that was asked for
/// is really served.
package struct AssetFinder {
    let html: HTMLHandling
    let notFound: NotFoundHandling
    let exists: (String) -> Bool

    package init(html: HTMLHandling, notFound: NotFoundHandling, exists: @escaping (String) -> Bool) {
        self.html = html
        self.notFound = notFound
        self.exists = exists
    }

    /// - Parameter path: As `AssetPath.decode` gives it.
    package func find(_ path: String) -> AssetOutcome? {
        switch find(path, redirectsMax: Self.redirectsMax) {
        case .file(let file)?: .file(file)
        case .redirect(let target, _)?: .redirect(target)
        case nil: findNothing(path)
        }
    }

    /// A name may be `index` in a folder `index`, and so on: so many in a row lead to where the last one does.
    private static let redirectsMax = 5

    private enum Found {
        case file(String)
        case redirect(String, serving: String)
    }

    private func find(_ path: String, redirectsMax: Int) -> Found? {
        switch html {
        case .autoTrailingSlash: findAutomatically(path, redirectsMax)
        case .forceTrailingSlash: findWithSlash(path, redirectsMax)
        case .dropTrailingSlash: findWithoutSlash(path, redirectsMax)
        case .none: exists(path) ? .file(path) : nil
        }
    }

    private func findAutomatically(_ path: String, _ redirectsMax: Int) -> Found? {
        func redirect(_ file: String, _ target: String) -> Found? { self.redirect(file, target, redirectsMax) }
        let isThere = exists(path)
        if let folder = path.without("/index") {
            if isThere { return .file(path) }
            if let found = redirect(path + ".html", folder + "/") ?? redirect(folder + ".html", folder) { return found }
        } else if let folder = path.without("/index.html") {
            if let found = redirect(path, folder + "/") ?? redirect(folder + ".html", folder) { return found }
        } else if let name = path.without("/") {
            if exists(path + "index.html") { return .file(path + "index.html") }
            if let found = redirect(name + ".html", name) { return found }
        } else if let name = path.without(".html") {
            if let found = redirect(path, name) ?? redirect(name + "/index.html", name + "/") { return found }
        }
        if isThere { return .file(path) }
        if exists(path + ".html") { return .file(path + ".html") }
        return redirect(path + "/index.html", path + "/")
    }

    private func findWithSlash(_ path: String, _ redirectsMax: Int) -> Found? {
        func redirect(_ file: String, _ target: String) -> Found? { self.redirect(file, target, redirectsMax) }
        let isThere = exists(path)
        if let folder = path.without("/index") {
            if isThere { return .file(path) }
            if let found = redirect(path + ".html", folder + "/") ?? redirect(folder + ".html", folder + "/") { return found }
        } else if let folder = path.without("/index.html") {
            if let found = redirect(path, folder + "/") ?? redirect(folder + ".html", folder + "/") { return found }
        } else if let name = path.without("/") {
            if exists(path + "index.html") { return .file(path + "index.html") }
            if exists(name + ".html") { return .file(name + ".html") }
        } else if let name = path.without(".html") {
            if let found = redirect(path, name + "/") { return found }
            if isThere { return .file(path) }
            if let found = redirect(name + "/index.html", name + "/") { return found }
        }
        if isThere { return .file(path) }
        return redirect(path + ".html", path + "/") ?? redirect(path + "/index.html", path + "/")
    }

    private func findWithoutSlash(_ path: String, _ redirectsMax: Int) -> Found? {
        func redirect(_ file: String, _ target: String) -> Found? { self.redirect(file, target, redirectsMax) }
        let isThere = exists(path)
        if let folder = path.without("/index") {
            if isThere { return .file(path) }
            let found =
                folder.isEmpty
                ? redirect("/index.html", "/") : redirect(folder + ".html", folder) ?? redirect(path + ".html", folder)
            if let found { return found }
        } else if let folder = path.without("/index.html") {
            if let found = redirect(path, folder.isEmpty ? "/" : folder) { return found }
            if isThere { return .file(path) }
            if let found = redirect(folder + ".html", folder) { return found }
        } else if path == "/" {
            if exists("/index.html") { return .file("/index.html") }
        } else if let name = path.without("/") {
            if let found = redirect(name + ".html", name) ?? redirect(name + "/index.html", name) { return found }
        } else if let name = path.without(".html") {
            if let found = redirect(path, name) ?? redirect(name + "/index.html", name) { return found }
        }
        if isThere { return .file(path) }
        if exists(path + ".html") { return .file(path + ".html") }
        return exists(path + "/index.html") ? .file(path + "/index.html") : nil
    }

    /// A redirect to `target`, if that isn't a file's own path and serves `file`; to where `target` itself leads, if it does.
    private func redirect(_ file: String, _ target: String, _ redirectsMax: Int) -> Found? {
        guard redirectsMax > 0, !target.isEmpty, exists(file), !exists(target) else { return nil }
        switch find(target, redirectsMax: redirectsMax - 1) {
        case .file(file)?: return .redirect(target, serving: file)
        case .redirect(let end, serving: file)?: return .redirect(end, serving: file)
        case .file?, .redirect?, nil: return nil
        }
    }

    private func findNothing(_ path: String) -> AssetOutcome? {
        switch notFound {
        case .none: return nil
        case .singlePageApplication: return exists("/index.html") ? .file("/index.html") : nil
        case .notFoundPage:
            var folder = path.utf8[...]
            while let slash = folder.lastIndex(of: UInt8(ascii: "/")) {
                folder = folder[..<slash]
                let page = String(decoding: Array(folder), as: UTF8.self) + "/404.html"
                if exists(page) { return .notFoundPage(page) }
            }
            return nil
        }
    }
}

extension String {
    /// The text before `suffix`; `nil` when it doesn't end so.
    fileprivate func without(_ suffix: StaticString) -> String? {
        let suffix = "\(suffix)"
        guard utf8.count >= suffix.utf8.count, utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8) else { return nil }
        return String(decoding: Array(utf8.dropLast(suffix.utf8.count)), as: UTF8.self)
    }
}
