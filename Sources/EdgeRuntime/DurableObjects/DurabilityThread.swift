internal import Glibc
internal import Synchronization
internal import System
internal import Workers

/// Makes what objects have written durable, on a helper thread: in one round all that wait for it. While one round is at the disk
/// the next one gathers.
final class DurabilityThread: Sendable {
    private struct Wish: Sendable {
        let descriptor: Int32
        let folder: String?
        let done: @Sendable (SystemError?) -> Void
    }
    private struct State {
        var wishes: [Wish] = []
        var isStarted = false
    }
    private let state = Mutex(State())
    private let wakeup = EventCounter()

    private struct Completion: @unchecked Sendable {  // Called on the loop's thread only.
        let body: ((any Error)?) -> Void
    }

    /// - Parameter completion: Called on the loop's thread.
    func sync(_ descriptor: Int32, folder: String?, on scope: ObjectScope, _ completion: @escaping ((any Error)?) -> Void) {
        let completion = Completion(body: completion)
        let wish = Wish(descriptor: descriptor, folder: folder) { error in scope.onLoop { completion.body(error) } }
        let (isFirst, starts) = state.withLock { state in
            state.wishes.append(wish)
            let starts = !state.isStarted
            state.isStarted = true
            return (state.wishes.count == 1, starts)
        }
        if starts { SystemThread(name: "edge-durability") { [self] in serve() }.start() }
        if isFirst { wakeup.signal() }
    }

    private func serve() {
        while true {
            let round = state.withLock { state in
                let round = state.wishes
                state.wishes = []
                return round
            }
            if round.isEmpty { wakeup.wait(upTo: .seconds(60)) }
            DurabilityFaults.shared.wait()
            for wish in round {
                if DurabilityFaults.shared.skips {
                    wish.done(nil)
                    continue
                }
                var failure = Self.sync(wish.descriptor)
                if failure == nil, let folder = wish.folder { failure = Self.syncFolder(folder) }
                wish.done(failure)
            }
        }
    }

    /// A file that is new is in its folder's list when that is on the disk.
    private static func syncFolder(_ path: String) -> SystemError? {
        do throws(SystemError) {
            let folder = try FileTree.openFile(path, flags: O_RDONLY | O_DIRECTORY, mode: 0)
            guard fsync(folder.rawValue) == 0 else { throw SystemError("fsync", errno: errno, on: path) }
            return nil
        } catch { return error }
    }

    private static func sync(_ descriptor: Int32) -> SystemError? {
        if DurabilityFaults.shared.takeFailure() { return SystemError("fdatasync", errno: EIO) }
        while fdatasync(descriptor) != 0 {
            let code = errno
            guard code == EINTR else { return SystemError("fdatasync", errno: code) }
        }
        return nil
    }
}
