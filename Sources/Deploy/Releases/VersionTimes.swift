internal import Synchronization
package import System

/// When each version of a tenant's workers first came to this node. It outlives the node: a version that is started again is
/// no newer for it.
package final class VersionTimes: Sendable {
    private let path: String
    /// The newest last.
    private let times: Mutex<[(version: String, time: UnixTime)]>

    /// Older ones that come back count as new.
    private static let versionsMax = 1000

    /// - Parameter path: A file of lines `VERSION MILLISECONDS`.
    package init(path: String) throws(SystemError) {
        self.path = path
        let text = try FileTree.readTextIfPresent(path) ?? ""
        times = Mutex(
            text.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                guard words.count == 2, let milliseconds = Int64(words[1]) else { return nil }
                return (String(words[0]), UnixTime(milliseconds: milliseconds))
            })
    }

    /// The time of `version`, `now` when it is new. Durable when it returns.
    package func time(of version: String, now: UnixTime) throws(SystemError) -> UnixTime {
        let path = path
        let result: Result<UnixTime, SystemError> = times.withLock { times in
            if let known = times.first(where: { $0.version == version }) { return .success(known.time) }
            let grown = Array((times + [(version, now)]).suffix(Self.versionsMax))
            let text = grown.map { "\($0.version) \($0.time.milliseconds)\n" }.joined()
            do throws(SystemError) {
                try FileTree.replaceFile(path, with: Array(text.utf8), mode: 0o600)
            } catch { return .failure(error) }
            times = grown
            return .success(now)
        }
        return try result.get()
    }
}
