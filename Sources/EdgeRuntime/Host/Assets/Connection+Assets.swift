internal import Assets
internal import HTTP
internal import Stores
internal import System
internal import Wire

/// Requests that files answer, without an isolate.
extension HTTPStream {
    /// What the rules want to know of the request, whose head is still in the input.
    func assetRequest() -> AssetRequest {
        let (host, target) = unsafe withTarget { host, target in
            unsafe (String(decoding: host, as: UTF8.self), String(decoding: target, as: UTF8.self))
        }
        let method: AssetRequest.Method =
            switch parser.head.knownMethod {
            case .get: .get
            case .head: .head
            default: .other
            }
        var request = AssetRequest(method: method, host: host, target: target)
        request.codings = acceptedCodings()
        request.hasAuthorization = parser.head.fields.contains(.authorization)
        unsafe input.withReadable { bytes in
            let span = unsafe bytes.bytes
            request.ifNoneMatch = parser.head.fields.first(.ifNoneMatch).map { span.text($0.value) }
            request.ifRange = parser.head.fields.first(.ifRange).map { span.text($0.value) }
            request.range = parser.head.fields.first(.range).map { span.text($0.value) }
            for index in 0..<parser.head.fields.count {
                let field = parser.head.fields[index]
                guard field.known == .other, field.name.count == 14, span.text(field.name).lowercased() == "sec-fetch-mode"
                else { continue }
                request.isNavigation = span.text(field.value).lowercased() == "navigate"
            }
        }
        return request
    }

    /// Sends an answer of `site`.
    func serve(_ answer: AssetAnswer, of site: AssetSite) {
        phase = .exchanging
        exchange.site = site
        consumeHead()
        guard let body = answer.body, !exchange.isHead, !body.range.isEmpty else {
            sendHead(status: answer.status, headers: answer.lines, bodyLength: answer.body?.range.count ?? 0)
            return completeResponse()
        }
        if let file = site.openFile(body.name) { return send(answer, body, file) }
        let (reply, pool) = (AssetReply(self, ray: exchange.ray, answer: answer, body: body), reactor.files)
        // As long as it takes the disk to open a file.
        Task(executorPreference: reactor) {
            do throws(SystemError) {
                reply.deliver(.success(try await pool.run { () throws(SystemError) in try site.load(body) }))
            } catch {
                reply.deliver(.failure(error))
            }
        }
    }

    private func send(_ answer: AssetAnswer, _ body: AssetAnswer.Body, _ file: FileSlice) {
        sendHead(status: answer.status, headers: answer.lines, bodyLength: body.range.count)
        responseBody = .file(file, offset: Int64(body.range.lowerBound), left: body.range.count, behind: 0)
        markDirty()
    }

    fileprivate func assetOpened(
        _ result: Result<FileSlice, SystemError>, _ answer: AssetAnswer, _ body: AssetAnswer.Body, ray: UInt64
    ) {
        guard phase == .exchanging, exchange.ray == ray, exchange.site != nil, !exchange.isHeadSent else { return }
        switch result {
        case .success(let file): send(answer, body, file)
        case .failure(let error):
            node.logger.log(.error, "an asset can't be read: \(error)", [("ray", rayText)])
            self.answer(.exception, detail: "\(error)")
        }
    }
}

extension AssetAnswer {
    /// All but `Content-Length`.
    fileprivate var lines: [(name: String, value: String)] {
        headers.map { ($0.name, $0.value) } + [("CF-Cache-Status", "HIT")]
    }
}

/// Brings an opened file back to its connection.
private struct AssetReply: @unchecked Sendable {  // Created and delivered on the reactor's thread.
    private weak var connection: HTTPStream?
    private let ray: UInt64
    private let answer: AssetAnswer
    private let body: AssetAnswer.Body

    init(_ connection: HTTPStream, ray: UInt64, answer: AssetAnswer, body: AssetAnswer.Body) {
        self.connection = connection
        self.ray = ray
        self.answer = answer
        self.body = body
    }

    func deliver(_ result: Result<FileSlice, SystemError>) { connection?.assetOpened(result, answer, body, ray: ray) }
}
