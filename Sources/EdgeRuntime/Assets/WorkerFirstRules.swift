/// Which requests a worker gets before the files are looked at: `run_worker_first`.
package enum WorkerFirstRules: Equatable, Sendable {
    case never
    case always
    /// Paths in which `*` stands for anything; those behind `!` are the files' whatever the others say.
    case paths([String])

    package enum Verdict: Equatable, Sendable {
        case worker
        /// The files', and the worker isn't asked afterwards.
        case assets
        /// The files', if they have it.
        case open
    }

    /// - Parameter path: As the request has it.
    package func verdict(_ path: String) -> Verdict {
        switch self {
        case .never: return .open
        case .always: return .worker
        case .paths(let rules):
            let path = Array(path.utf8)
            let matching = rules.filter { Glob.matches(Array($0.utf8.drop { $0 == UInt8(ascii: "!") }), path) }
            if matching.contains(where: { $0.hasPrefix("!") }) { return .assets }
            return matching.isEmpty ? .open : .worker
        }
    }
}

/// `*` stands for any bytes, also none.
enum Glob {
    static func matches(_ pattern: [UInt8], _ text: [UInt8]) -> Bool {
        var (position, index) = (0, 0)
        // Where to go on when what follows the last star doesn't fit.
        var star: (pattern: Int, text: Int)?
        while index < text.count {
            if position < pattern.count, pattern[position] == UInt8(ascii: "*") {
                star = (position, index)
                position += 1
            } else if position < pattern.count, pattern[position] == text[index] {
                position += 1
                index += 1
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                position = last.pattern + 1
                index = last.text + 1
            } else {
                return false
            }
        }
        return pattern[position...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
