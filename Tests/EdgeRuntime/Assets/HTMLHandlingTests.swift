import Assets
import Testing

@Suite struct `HTML handling` {
    /// A file, and a folder with an index: the two ways to have a page.
    private static let files: Set<String> = [
        "/index.html", "/file.html", "/folder/index.html", "/plain.txt", "/404.html", "/a/404.html",
    ]

    private func find(_ path: String, _ html: HTMLHandling, _ notFound: NotFoundHandling = .none) -> AssetOutcome? {
        AssetFinder(html: html, notFound: notFound, exists: Self.files.contains).find(path)
    }

    private static let file = AssetOutcome.file("/file.html")
    private static let folder = AssetOutcome.file("/folder/index.html")

    /// The table of the specification: one line a request, one column a mode (automatic, force, drop, none).
    static let table: [(path: String, outcomes: [AssetOutcome?])] = [
        ("/file", [file, .redirect("/file/"), file, nil]),
        ("/file.html", [.redirect("/file"), .redirect("/file/"), .redirect("/file"), file]),
        ("/file/index", [.redirect("/file"), .redirect("/file/"), .redirect("/file"), nil]),
        ("/file/index.html", [.redirect("/file"), .redirect("/file/"), .redirect("/file"), nil]),
        ("/file/", [.redirect("/file"), file, .redirect("/file"), nil]),
        ("/folder", [.redirect("/folder/"), .redirect("/folder/"), folder, nil]),
        ("/folder/", [folder, folder, .redirect("/folder"), nil]),
        ("/folder.html", [.redirect("/folder/"), .redirect("/folder/"), .redirect("/folder"), nil]),
        ("/folder/index", [.redirect("/folder/"), .redirect("/folder/"), .redirect("/folder"), nil]),
        ("/folder/index.html", [.redirect("/folder/"), .redirect("/folder/"), .redirect("/folder"), folder]),
        ("/", [.file("/index.html"), .file("/index.html"), .file("/index.html"), nil]),
        ("/index", [.redirect("/"), .redirect("/"), .redirect("/"), nil]),
        ("/index.html", [.redirect("/"), .redirect("/"), .redirect("/"), .file("/index.html")]),
        ("/plain.txt", Array(repeating: .file("/plain.txt"), count: 4)),
        ("/plain.txt/", [nil, nil, nil, nil]),
        ("/missing", [nil, nil, nil, nil]),
        ("/missing/index.html", [nil, nil, nil, nil]),
    ]

    @Test(arguments: table) func `follows the table`(_ path: String, _ outcomes: [AssetOutcome?]) {
        for (mode, outcome) in zip(HTMLHandling.allCases, outcomes) { #expect(find(path, mode) == outcome, "\(mode) \(path)") }
    }

    @Test func `serves a single page for what isn't there`() {
        #expect(find("/any/where", .autoTrailingSlash, .singlePageApplication) == .file("/index.html"))
        #expect(find("/folder", .autoTrailingSlash, .singlePageApplication) == .redirect("/folder/"))
    }

    @Test func `serves the nearest page for what isn't there`() {
        #expect(find("/a/b/c", .autoTrailingSlash, .notFoundPage) == .notFoundPage("/a/404.html"))
        #expect(find("/b/c", .autoTrailingSlash, .notFoundPage) == .notFoundPage("/404.html"))
        #expect(AssetFinder(html: .none, notFound: .notFoundPage) { _ in false }.find("/b") == nil)
    }

    @Test func `a name without an ending comes before the page of the same name`() {
        let files: Set<String> = ["/file", "/file.html"]
        let finder = AssetFinder(html: .autoTrailingSlash, notFound: .none, exists: files.contains)
        #expect(finder.find("/file") == .file("/file"))
        // A redirect to /file would show another file.
        #expect(finder.find("/file.html") == .file("/file.html"))
    }

    /// Whatever files there are: a redirect leads to a file at once, never to nothing and never to another redirect.
    @Test func `a redirect leads to the file`() {
        for seed in 0..<400 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let names = ["a", "b", "index", "a.html", "index.html", "b.html"]
            var files: Set<String> = []
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let depth = Int.random(in: 1...3, using: &random)
                files.insert((0..<depth).map { _ in "/" + (names.randomElement(using: &random) ?? "a") }.joined())
            }
            for mode in HTMLHandling.allCases {
                let finder = AssetFinder(html: mode, notFound: .none, exists: files.contains)
                for file in files.sorted() {
                    for path in [
                        file, file + "/", file + ".html", file + "/index", file + "/index.html", String(file.dropLast(5)),
                    ] {
                        let outcome = finder.find(path.isEmpty ? "/" : path)
                        if case .redirect(let target)? = outcome {
                            guard case .file(let found)? = finder.find(target) else {
                                Issue.record(
                                    "seed \(seed), \(mode), \(files.sorted()): \(path) leads to \(target), which is no file")
                                continue
                            }
                            #expect(files.contains(found))
                        } else if case .file(let found)? = outcome {
                            #expect(files.contains(found), "seed \(seed)")
                        }
                    }
                }
            }
        }
    }
}
