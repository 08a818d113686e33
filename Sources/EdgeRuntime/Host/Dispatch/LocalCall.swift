internal import HTTP
internal import Interfaces
internal import Stores
internal import Wire

/// A worker's request for what the node itself answers at a host of the worker's tenant: as if a client had asked there.
/// Reactor thread only.
enum LocalCall {
    static func start(_ call: CallStream, of target: LocalTarget, _ fetch: FetchMessage) {
        // Whatever body the request has, nothing here wants it.
        if !call.receivedEnd { call.discardIncoming() }
        let request = LocalRequest(fetch)
        // Bounded by the handler, which never waits without a limit of its own; a call that is over by then takes no answer.
        Task(executorPreference: call.channel.reactor) {
            let response = await target.handler.answer(request)
            reply(response, on: call, isHead: fetch.method == "HEAD")
        }
    }

    private static func reply(_ response: LocalResponse, on call: CallStream, isHead: Bool) {
        var headers = Headers()
        // The handler takes nothing for a header that isn't one.
        for header in response.headers { try? headers.append(header.name, header.value) }
        if let length = response.bodyByteCount { try? headers.append("content-length", "\(length)") }
        let hasBody = !isHead && response.bodyByteCount != 0
        call.answer(body: hasBody ? .stored(response.body) : nil) { buffer in
            ReplyHead.write(
                status: response.status, hasBody: hasBody, bodyLength: hasBody ? response.bodyByteCount : 0,
                headerCount: headers.wireCount, into: &buffer)
            headers.encode(into: &buffer)
        }
    }
}

extension LocalRequest {
    fileprivate init(_ fetch: FetchMessage) {
        let url = WebURL(fetch.url)
        var headers: [(name: String, value: String)] = []
        fetch.headers.forEachOnWire { headers.append(($0.lowercased(), $1)) }
        self.init(
            listener: .edge, method: fetch.method, target: (url?.path ?? "/") + (url?.query.map { "?\($0)" } ?? ""),
            host: url?.hostname ?? "", headers: headers, body: nil)
    }
}
