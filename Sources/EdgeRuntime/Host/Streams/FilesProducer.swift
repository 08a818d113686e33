internal import Stores

/// Has the files of a stored body opened one after the other, for the connection to `sendfile` them. The connection
/// asks for the next one when it has sent the last.
final class FilesProducer: BodyProducer, @unchecked Sendable {  // Owner: the reactor's thread.
    private let source: any FileSequence
    private weak var connection: HTTPStream?
    private var isDone = false

    init(_ source: any FileSequence, to connection: HTTPStream) {
        self.source = source
        self.connection = connection
    }

    /// Files need no credit: the connection takes from them what its client takes.
    func grant(_ byteCount: Int) {}

    func cancel(_ reason: StreamReset) {
        guard !isDone else { return }
        isDone = true
        source.cancel()
    }

    func pull() {
        guard !isDone, let connection else { return }
        // The task is owned by the pull: it ends with it, or with the source's cancellation.
        Task(executorPreference: connection.reactor) { await self.open() }
    }

    private func open() async {
        do {
            let file = try await source.nextFile()
            guard !isDone else { return }
            if let file {
                connection?.receive(file: file)
            } else {
                // The end comes too early: the connection counts the files, and asks for none beyond the last.
                isDone = true
                connection?.finish()
            }
        } catch {
            guard !isDone else { return }
            isDone = true
            connection?.fail(StreamReset(.internal, "\(error)"))
        }
    }
}
