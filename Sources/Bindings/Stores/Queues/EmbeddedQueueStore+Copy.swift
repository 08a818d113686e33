internal import LMDB
internal import System

extension EmbeddedQueueStore {
    /// Writes all queues as they are now to a new file, which an environment can be opened with. Sends and deliveries go on
    /// meanwhile.
    package func copy(to path: String) async throws(QueueError) {
        let environment = environment
        let failure = await withCheckedContinuation { (continuation: CheckedContinuation<LMDBError?, Never>) in
            // It reads everything there is: no thread that others wait for does that.
            SystemThread(name: "queue-copy") {
                do throws(LMDBError) {
                    try environment.copy(to: path)
                    continuation.resume(returning: nil)
                } catch { continuation.resume(returning: error) }
            }.start()
        }
        guard let failure else { return }
        logger.log(.error, "queues: copy failed", [("error", "\(failure)")])
        throw .failed
    }
}
