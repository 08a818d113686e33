internal import System

extension EmbeddedQueueStore {
    package func verify() async throws(QueueError) -> [String] {
        let (environment, tables) = (environment, tables)
        return await withCheckedContinuation { continuation in
            // It reads everything there is, from a disk perhaps: no thread that others wait for does that.
            SystemThread(name: "queue-verify") {
                var verification = QueueVerification(environment, tables)
                verification.run()
                continuation.resume(returning: verification.problems)
            }.start()
        }
    }
}
