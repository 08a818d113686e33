internal import Glibc
internal import System

/// Where a running node can be asked: its control URL, in its state directory from when it is ready until it ends. What a
/// node left there that was killed is told by the directory's lock, which nobody holds then.
///
/// The first line is the URL; a second one, if there is one, names a file of certificates to trust.
enum ControlFile {
    private static func path(in state: String) -> String { state + "/control" }

    /// For the node that holds the lock.
    static func write(_ url: String, authorities: String? = nil, in state: String) throws(SystemError) {
        let text = url + "\n" + (authorities.map { $0 + "\n" } ?? "")
        try FileTree.replaceFile(path(in: state), with: Array(text.utf8), mode: 0o600)
    }

    static func remove(in state: String) throws(SystemError) { try FileTree.remove(path(in: state)) }

    /// The node that runs with `state`.
    ///
    /// - Throws: `NodeNotFound`.
    static func read(in state: String) throws -> NodeAddress {
        guard FileTree.exists(state + "/lock") else { throw NodeNotFound.noState(state) }
        let lock = try FileTree.openFile(state + "/lock", flags: O_RDONLY)
        // A shared lock that can be had means that no node has the exclusive one; closing gives it back.
        guard flock(lock.rawValue, LOCK_SH | LOCK_NB) != 0 else { throw NodeNotFound.notRunning(state) }
        let lines = (try FileTree.readTextIfPresent(path(in: state)) ?? "").split(separator: "\n").map(String.init)
        guard let url = lines.first, let address = NodeAddress(url, authorities: lines.count > 1 ? lines[1] : nil) else {
            throw NodeNotFound.notReady(state)
        }
        return address
    }
}

/// Why a command doesn't know which node to ask.
enum NodeNotFound: Error, CustomStringConvertible {
    case noState(String)
    case notRunning(String)
    case notReady(String)

    var description: String {
        switch self {
        case .noState(let state):
            "no node runs here, there is no \(state): start one (`edge dev`), or name one with --state DIRECTORY or --remote URL"
        case .notRunning(let state):
            "no node runs with \(state): start it (`edge dev`), or name another with --state DIRECTORY or --remote URL"
        case .notReady(let state): "the node of \(state) isn't ready yet: try again in a moment"
        }
    }
}
