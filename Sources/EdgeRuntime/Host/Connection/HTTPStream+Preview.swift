internal import HTTP
internal import System

/// Requests for one version of a worker, by a host name of its own: `1f0c27aa-api.preview.example.com`.
extension HTTPStream {
    /// Asks which version is meant, which may have to be made ready, and has it answer.
    func preview(by resolvers: [any PreviewResolver]) {
        phase = .exchanging
        let host = unsafe withTarget { host, _ in unsafe host.bytes.text(ByteRange(offset: 0, count: host.count)) }
        let name = host.prefix { $0 != "." }.lowercased()
        let reply = PreviewReply(self, ray: exchange.ray)
        exchange.origin = OriginCall(
            Task(executorPreference: reactor) {
                for resolver in resolvers {
                    if let result = await resolver.previewTarget(name) { return reply.deliver(result) }
                }
                reply.deliver(nil)
            })
    }

    fileprivate func previewFound(_ result: Result<RouteTarget, PreviewFailure>?, ray: UInt64) {
        guard phase == .exchanging, exchange.ray == ray, exchange.origin != nil, !exchange.isHeadSent else { return }
        exchange.origin = nil
        switch result {
        case .success(let target): start(target)
        case .failure(let failure): answer(.exception, detail: failure.reason)
        case nil: answer(.unknownHost)
        }
    }
}

/// Brings what was found back to its stream.
private struct PreviewReply: @unchecked Sendable {  // Created and delivered on the reactor's thread.
    private weak var stream: HTTPStream?
    private let ray: UInt64

    init(_ stream: HTTPStream, ray: UInt64) {
        self.stream = stream
        self.ray = ray
    }

    func deliver(_ result: Result<RouteTarget, PreviewFailure>?) { stream?.previewFound(result, ray: ray) }
}
