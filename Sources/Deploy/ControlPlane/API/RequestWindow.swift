internal import Synchronization
internal import System

/// How often each caller may come in a fixed window of time. Bounded: windows that have ended are forgotten.
final class RequestWindow: Sendable {
    private struct Window {
        var start: Instant
        var count = 0
    }

    private let countMax: Int
    private let length: Duration
    private let windows = Mutex<[String: Window]>([:])

    init(countMax: Int, seconds: Int) {
        self.countMax = countMax
        length = .seconds(seconds)
    }

    /// Counts a call.
    ///
    /// - Returns: After how many seconds to come again; `nil` when the call is within the limit.
    func take(_ caller: String, at now: Instant) -> Int? {
        windows.withLock { windows in
            if windows.count > 1000 { windows = windows.filter { now < $0.value.start + length } }
            var window = windows[caller] ?? Window(start: now)
            if now >= window.start + length { window = Window(start: now) }
            window.count += 1
            windows[caller] = window
            guard window.count > countMax else { return nil }
            return Int((window.start + length - now).components.seconds) + 1
        }
    }
}
