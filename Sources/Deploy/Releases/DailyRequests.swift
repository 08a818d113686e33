internal import Host
internal import Observability
internal import Synchronization
internal import System

/// Counts a tenant's requests of one UTC day. The count is written down some seconds after it has changed, and when the tenant's
/// stores are closed: a node that is killed forgets those of the last seconds. No request waits for the disk.
final class DailyRequests: Sendable {
    private struct State {
        var day: Int64 = 0
        var count = 0
        /// Until then, further changes ask for no other write.
        var isWriteDue = false
        var hasChanged = false
        /// The file belongs to whoever opens it next.
        var isClosed = false
    }
    private let file: String
    private let clock: any NodeClock
    private let logger: Logger
    private let state: Mutex<State>
    /// One write at a time.
    private let writing = Mutex<Void>(())

    /// How far what is written may be behind.
    static let writeInterval = Duration.seconds(5)
    private static let secondsPerDay: Int64 = 86_400

    /// Goes on where the file says; blocks.
    ///
    /// - Parameter file: A line, the day since 1970 and the count; need not be there.
    init(file: String, clock: any NodeClock, logger: Logger) {
        self.file = file
        self.clock = clock
        self.logger = logger
        var found = State()
        do throws(SystemError) {
            if let text = try FileTree.readTextIfPresent(file) {
                let words = text.split(whereSeparator: \.isWhitespace).map { Int64($0) }
                if words.count == 2, let day = words[0], let count = words[1], count >= 0 {
                    (found.day, found.count) = (day, Int(count))
                } else {
                    logger.log(.warning, "the requests of the day begin at none: the file is damaged", [("file", file)])
                }
            }
        } catch { logger.log(.warning, "the requests of the day begin at none: \(error)") }
        state = Mutex(found)
    }

    /// Takes one request.
    ///
    /// - Returns: the time until the next day when there were `most` already; those that are refused don't count.
    func take(of most: Int) -> Duration? {
        let now = clock.wallTime().seconds
        let day = now / Self.secondsPerDay
        // `nil`: all are taken.
        let taken = state.withLock { state -> (count: Int, asksForWrite: Bool)? in
            if state.day != day { (state.day, state.count) = (day, 0) }
            guard state.count < most else { return nil }
            state.count += 1
            state.hasChanged = true
            defer { state.isWriteDue = true }
            return (state.count, !state.isWriteDue && !state.isClosed)
        }
        guard let taken else { return .seconds((day + 1) * Self.secondsPerDay - now) }
        if taken.asksForWrite {
            _ = clock.schedule(at: clock.now() + Self.writeInterval) { [weak self] in
                guard let self else { return }
                SystemThread(name: "edge-day-count") { self.write(isLast: false) }.start()
            }
        }
        if taken.count == most - most / 5 {
            logger.log(
                .warning, "tenant has used 80 % of its requests of the day",
                [("used", "\(taken.count)"), ("allowed", "\(most)")])
        }
        return nil
    }

    /// Writes down what there is. Nothing is written afterwards.
    func close() async {
        await withCheckedContinuation { continuation in
            SystemThread(name: "edge-day-count") {
                self.write(isLast: true)
                continuation.resume()
            }.start()
        }
    }

    /// Blocks.
    private func write(isLast: Bool) {
        writing.withLock { _ in
            let line = state.withLock { state -> String? in
                guard !state.isClosed else { return nil }
                state.isClosed = isLast
                // What is taken from here on asks for the next write.
                state.isWriteDue = false
                defer { state.hasChanged = false }
                return state.hasChanged ? "\(state.day) \(state.count)\n" : nil
            }
            guard let line else { return }
            do throws(SystemError) { try FileTree.replaceFile(file, with: Array(line.utf8), mode: 0o600) } catch {
                logger.log(.error, "the requests of the day can't be written down: \(error)")
            }
        }
    }
}
