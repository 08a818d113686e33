internal import HTTP

/// All that decides what a worker's assets answer. Immutable: a release has its own.
package struct AssetRules: Sendable {
    package var manifest: AssetManifest
    package var html = HTMLHandling.autoTrailingSlash
    package var notFound = NotFoundHandling.none
    package var workerFirst = WorkerFirstRules.never
    /// Whether the page for what isn't there comes before the worker when a person goes to an address.
    package var navigationPrefersAssets = true
    package var headers = AssetHeaderRules.none
    package var redirects = AssetRedirects.none

    package init(manifest: AssetManifest) { self.manifest = manifest }

    /// What a client's request gets before the worker behind the assets is asked.
    ///
    /// - Returns: `nil` when the worker is to answer.
    package func answerBeforeWorker(_ request: AssetRequest) -> AssetAnswer? {
        switch workerFirst.verdict(request.path) {
        case .worker: return nil
        case .assets: return answer(request)
        case .open:
            return find(request, request.isNavigation && navigationPrefersAssets ? notFound : .none)
        }
    }

    /// What a request gets that no worker may answer: it is the files' own, or the worker itself asks them.
    package func answer(_ request: AssetRequest) -> AssetAnswer {
        find(request, notFound) ?? finish(AssetAnswer(status: 404), request)
    }

    private func find(_ request: AssetRequest, _ notFound: NotFoundHandling) -> AssetAnswer? {
        var path = request.path
        var decoded = AssetPath.decode(path)
        var isRewritten = false
        switch redirects.match(decoded, query: request.query) {
        case nil: break
        case .redirect(let target, let status)?:
            return finish(AssetAnswer(status: status, headers: [AssetHeader("Location", target)]), request)
        case .rewrite(let target)?:
            decoded = AssetPath.decode(target)
            path = AssetPath.encode(decoded)
            isRewritten = true
        }
        let finder = AssetFinder(html: html, notFound: notFound) { manifest[$0] != nil }
        guard let outcome = finder.find(decoded) else {
            return isRewritten ? finish(AssetAnswer(status: 404), request) : nil
        }
        guard request.method != .other else {
            return finish(AssetAnswer(status: 405, headers: [AssetHeader("Allow", "GET, HEAD")]), request)
        }
        switch outcome {
        case .redirect(let target): return redirect(to: target, request)
        case .file(let name):
            return AssetPath.encode(decoded) == path ? file(name, 200, request) : redirect(to: decoded, request)
        case .notFoundPage(let name):
            return AssetPath.encode(decoded) == path ? file(name, 404, request) : redirect(to: decoded, request)
        }
    }

    private func redirect(to path: String, _ request: AssetRequest) -> AssetAnswer {
        finish(AssetAnswer(status: 307, headers: [AssetHeader("Location", AssetPath.encode(path) + request.query)]), request)
    }

    private func finish(_ answer: AssetAnswer, _ request: AssetRequest) -> AssetAnswer {
        guard headers.count > 0 else { return answer }
        var answer = answer
        answer.headers = headers.apply(to: answer.headers, host: request.host, path: AssetPath.decode(request.path))
        return answer
    }

    private func file(_ path: String, _ status: Int, _ request: AssetRequest) -> AssetAnswer? {
        guard let file = manifest[path] else { return nil }
        // A part is always of the plain content, so that all parts of one file fit together.
        let isWhole = status != 200 || request.method != .get || request.range == nil
        // A rule that says what the file is coded in means the file as it is.
        let isCodedByRule =
            headers.count > 0
            && headers.apply(to: [], host: request.host, path: AssetPath.decode(request.path))
                .contains { $0.name.lowercased() == "content-encoding" }
        let coding = isWhole && !isCodedByRule ? request.codings.preferred(of: Array(file.variants.keys)) : nil
        var answer = AssetAnswer(
            status: status,
            headers: [
                AssetHeader("Content-Type", file.type),
                // Of two codings of one content, neither is the other byte for byte: their tag is a weak one.
                AssetHeader("ETag", coding == nil ? file.entityTag : "W/" + file.entityTag),
            ])
        if !request.hasAuthorization, request.range == nil {
            answer.headers.append(AssetHeader("Cache-Control", "public, max-age=0, must-revalidate"))
        }
        if !file.variants.isEmpty { answer.headers.append(AssetHeader("Vary", "Accept-Encoding")) }
        if coding == nil { answer.headers.append(AssetHeader("Accept-Ranges", "bytes")) }
        answer = finish(answer, request)
        if status == 200, let field = request.ifNoneMatch, EntityTags.matches(field, file.entityTag) {
            answer.status = 304
            answer.headers.removeAll { ["content-type", "accept-ranges"].contains($0.name.lowercased()) }
            return answer
        }
        if let coding, let variant = file.variants[coding] {
            answer.headers.append(AssetHeader("Content-Encoding", coding.rawValue))
            answer.body = AssetAnswer.Body(
                name: variant.name, range: 0..<variant.byteCount, fileByteCount: variant.byteCount)
            return answer
        }
        var range = 0..<file.byteCount
        // A range of another content than the client has the rest of is of no use to it.
        if !isWhole, request.ifRange.map({ $0.trimmed == file.entityTag }) ?? true {
            switch RangeOutcome(request.range, byteCount: file.byteCount) {
            case .whole: break
            case .part(let part):
                range = part
                answer.status = 206
                answer.headers.append(
                    AssetHeader("Content-Range", "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(file.byteCount)"))
            case .unsatisfiable:
                answer.status = 416
                answer.headers.removeAll { $0.name.lowercased() == "content-type" }
                answer.headers.append(AssetHeader("Content-Range", "bytes */\(file.byteCount)"))
                return answer
            }
        }
        answer.body = AssetAnswer.Body(name: file.hash, range: range, fileByteCount: file.byteCount)
        return answer
    }
}
