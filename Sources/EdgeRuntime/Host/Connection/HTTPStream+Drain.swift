internal import System
internal import Wire

/// The end of a request whose release was replaced, when it takes longer than such a one may.
extension HTTPStream {
    func drainExchange(_ look: DrainLook) {
        guard phase == .exchanging, let release = exchange.release, look.means(release) else { return }
        guard exchange.isHeadSent else {
            guard look.mustEnd(after: look.limits.requests, begunAt: exchange.started) else { return }
            exchange.origin = nil
            if requestBody.isPending { exchange.mustClose = true }
            return cancelEvent(.cancelled, answering: .releaseEnded)
        }
        // What is only to be written, from memory or from files, has no need of the release.
        guard let producer = responseProducer, !(producer is FilesProducer), !responseBody.isComplete else { return }
        guard look.mustEnd(after: look.limits.streams, begunAt: exchange.started) else { return }
        endResponse(from: producer)
    }

    /// Ends an answer's body between two pieces: as if it were complete, where it has no announced length.
    private func endResponse(from producer: any BodyProducer) {
        let worker = exchange.route?.worker.name ?? ""
        switch responseBody {
        case .chunked, .untilClose:
            node.logger.log(
                .info, "an answer was ended: its release was replaced long ago", [("worker", worker), ("ray", rayText)])
            responseProducer = nil
            let event = event
            self.event = nil
            if let stream = producer as? ChannelStream { stream.detachConsumer() }
            if producer !== event { producer.cancel(.cancelled) }
            event?.abandon(.cancelled)
            finish()
        case .length, .file, .bytes, .none, .dropped, .complete: abortResponse()
        }
    }
}
