internal import Assets
internal import HTTP
internal import Interfaces
internal import Stores
internal import System
internal import Wire

/// A worker's request for files: its own, by the binding, or another worker's. Reactor thread only.
enum AssetCall {
    static func start(_ call: CallStream, of site: AssetSite, _ fetch: FetchMessage) {
        send(site.rules.answer(AssetRequest(fetch)), of: site, on: call, isHead: fetch.method == "HEAD")
    }

    static func send(_ answer: AssetAnswer, of site: AssetSite, on call: CallStream, isHead: Bool) {
        // Whatever body the request has, files don't want it.
        if !call.receivedEnd { call.discardIncoming() }
        guard let body = answer.body, !isHead, !body.range.isEmpty else {
            return reply(answer, nil, length: answer.body.map(\.range.count), on: call)
        }
        if body.range.count == body.fileByteCount, let file = site.openFile(body.name) {
            return reply(answer, file, length: file.byteCount, on: call)
        }
        let pool = call.channel.reactor.files
        // As long as it takes the disk to open a file; a call that is over by then takes no answer.
        Task(executorPreference: call.channel.reactor) {
            do throws(SystemError) {
                let isWhole = body.range.count == body.fileByteCount
                let file = try await pool.run { () throws(SystemError) in
                    isWhole ? try site.load(body) : try site.loadPart(body)
                }
                reply(answer, file, length: file.byteCount, on: call)
            } catch {
                call.channel.reactor.logger.log(.error, "an asset can't be read: \(error)", call.channel.isolate.logFields)
                call.answer(failure: CallFailure("The asset could not be read."))
            }
        }
    }

    /// - Parameter length: of the body; with a file that isn't sent, what a GET would have got.
    private static func reply(_ answer: AssetAnswer, _ file: FileSlice?, length: Int?, on call: CallStream) {
        var headers = Headers()
        // The rules take nothing for a header that isn't one.
        for header in answer.headers { try? headers.append(header.name, header.value) }
        if let length { try? headers.append("content-length", "\(length)") }
        call.answer(body: file.map { .stored(.file($0)) }) { buffer in
            ReplyHead.write(
                status: answer.status, hasBody: file != nil, bodyLength: file == nil ? 0 : length,
                headerCount: headers.wireCount, into: &buffer)
            headers.encode(into: &buffer)
        }
    }
}

extension AssetRequest {
    /// A worker reads what it gets, so it is never compressed: on the way to the client the node sees to that.
    init(_ fetch: FetchMessage) {
        let method: Method = fetch.method == "GET" ? .get : fetch.method == "HEAD" ? .head : .other
        let url = WebURL(fetch.url)
        self.init(
            method: method, host: url?.hostname ?? "", target: (url?.path ?? "/") + (url?.query.map { "?\($0)" } ?? ""))
        ifNoneMatch = fetch.headers.get("if-none-match")
        ifRange = fetch.headers.get("if-range")
        range = fetch.headers.get("range")
        isNavigation = fetch.headers.get("sec-fetch-mode")?.lowercased() == "navigate"
        hasAuthorization = fetch.headers.get("authorization") != nil
    }
}
