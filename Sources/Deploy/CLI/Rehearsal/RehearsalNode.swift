internal import Configuration
internal import ControlPlane
internal import Glibc
internal import Releases
internal import System

/// `edge rehearsal-node`: as `serve`, with a copy of a state, for `edge rehearse` alone.
enum RehearsalNodeCommand: Command {
    static let name = "rehearsal-node"
    static let summary = "Serves a copy of a state; started by edge rehearse"
    static let isHidden = true
    static let options = ServeCommand.options

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        try await ServeCommand.run(arguments, .rehearsal)
    }
}

/// Hooks ask and tell people and machines: a rehearsal is none of their business.
struct NoHooks: DeploymentHooks {
    func call(_ point: Hook.Point, _ hooks: [Hook], _ record: DeploymentRecord) async throws(DeploymentFailure) {}
}

/// A node of one's own that serves a copy of a state: on loopback, sealed against the outside, and gone with whoever has started
/// it.
final class RehearsalNode: Sendable {
    let publicAddress: NodeAddress
    let client: APIClient
    private let process: Int32

    /// Where it says how it is reached.
    static func addressFile(in state: String) -> String { state + "/public" }

    private static let startLimit = Duration.seconds(120)

    private init(_ process: Int32, _ publicAddress: NodeAddress, _ client: APIClient) {
        self.process = process
        self.publicAddress = publicAddress
        self.client = client
    }

    /// - Parameter arguments: those of `edge serve` that it is to have.
    static func start(
        state: String, environment: String, tenant: String?, _ arguments: [String]
    ) async throws -> RehearsalNode {
        let words = [OwnExecutable.path, RehearsalNodeCommand.name, "--state", state, "--environment", environment] + arguments
        let process = try ChildProcess.start(OwnExecutable.path, words, environment: variables(), passing: 2)
        let clock = SystemClock()
        let deadline = clock.now() + startLimit
        do {
            while true {
                if Interrupts.count > 0 { throw RehearsalInterrupted() }
                guard isRunning(process) else { throw APIFailure("the node that rehearses has ended; its messages are above") }
                if let url = try FileTree.readTextIfPresent(addressFile(in: state)), let address = NodeAddress(url),
                    let client = try? APIClient(
                        source: environment, url: nil, state: state, token: nil, authorities: nil, tenant: tenant)
                {
                    return RehearsalNode(process, address, client)
                }
                guard clock.now() < deadline else { throw APIFailure("the node that rehearses isn't ready in time") }
                try await clock.sleep(for: .milliseconds(50))
            }
        } catch {
            end(process)
            throw error
        }
    }

    /// Ends it at once: nothing of it is to be kept.
    func end() { Self.end(process) }

    private static func end(_ process: Int32) {
        guard isRunning(process) else { return }
        _ = kill(process, SIGKILL)
        var status: Int32 = 0
        // SAFETY: waitpid fills the integer whose address it is given.
        while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
    }

    private static func isRunning(_ process: Int32) -> Bool {
        var status: Int32 = 0
        // SAFETY: waitpid fills the integer whose address it is given.
        return unsafe waitpid(process, &status, WNOHANG) == 0
    }

    /// It ends with this process, and is nobody else's.
    private static func variables() -> [String] {
        let own = [
            "\(HandOver.followerVariable)=", "\(HandOver.variable)=", "NOTIFY_SOCKET=", "EDGE_FAULT=", "EDGE_API_TOKEN=",
        ]
        return ProcessEnvironment.all.filter { entry in !own.contains { entry.hasPrefix($0) } }
            + ["\(HandOver.followerVariable)=\(getpid())"]
    }
}

struct RehearsalInterrupted: Error {}

private enum ProcessEnvironment {
    /// `NAME=value`.
    static var all: [String] {
        var list: [String] = []
        var next = unsafe environ
        // SAFETY: the environment ends with a null pointer, and nothing changes it.
        while let text = unsafe next.pointee {
            list.append(unsafe String(cString: text))
            unsafe next += 1
        }
        return list
    }
}
