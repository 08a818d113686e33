internal import Stores
internal import Synchronization
internal import System

/// Syncs of the blobs' directories: all that wait for the same directory share one.
final class DirectorySyncs: Sendable {
    private typealias Waiter = CheckedContinuation<Result<Void, SystemError>, Never>
    private struct Shard {
        var isRunning = false
        var waiting: [Waiter] = []
    }
    private let files: BlobFiles
    private let threads: IOThreads
    private let shards = Mutex<[UInt8: Shard]>([:])

    init(files: BlobFiles, threads: IOThreads) {
        self.files = files
        self.threads = threads
    }

    /// Returns when everything that was renamed into the directory before the call is durable there.
    func sync(_ shard: UInt8) async throws(SystemError) {
        let result = await withCheckedContinuation { (waiter: Waiter) in
            let mustStart = shards.withLock { shards in
                shards[shard, default: Shard()].waiting.append(waiter)
                defer { shards[shard]?.isRunning = true }
                return shards[shard]?.isRunning == false
            }
            // One that runs may have begun before the rename: this caller waits for the next.
            if mustStart { threads.submit { self.serve(shard) } }
        }
        try result.get()
    }

    private func serve(_ shard: UInt8) {
        while true {
            let waiting = shards.withLock { shards -> [Waiter] in
                let waiting = shards[shard]?.waiting ?? []
                shards[shard] = waiting.isEmpty ? nil : Shard(isRunning: true)
                return waiting
            }
            if waiting.isEmpty { return }
            let result = Result { () throws(SystemError) in try files.syncShard(shard) }
            for waiter in waiting { waiter.resume(returning: result) }
        }
    }
}
