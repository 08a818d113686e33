internal import Glibc

/// Where tests let a node die: `EDGE_FAULT=deployment:STATE` ends the process, as a power loss would, right after the state was
/// committed; `deployment:STATE:after-effect` once what the state does is done.
struct DeploymentFault: Sendable {
    enum Moment: String, Sendable {
        case committed = "before-effect"
        case done = "after-effect"
    }

    let state: DeploymentState
    let moment: Moment

    /// - Parameter text: what the variable says; `nil`, or something else: no fault.
    init?(_ text: String?) {
        let parts = (text ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count), parts[0] == "deployment", let state = DeploymentState(rawValue: parts[1]) else {
            return nil
        }
        guard let moment = parts.count == 3 ? Moment(rawValue: parts[2]) : .committed else { return nil }
        self.state = state
        self.moment = moment
    }

    /// Of this process.
    static let ofProcess: DeploymentFault? = {
        guard let value = unsafe getenv("EDGE_FAULT") else { return nil }
        return DeploymentFault(unsafe String(cString: value))
    }()

    func strike(_ state: DeploymentState, _ moment: Moment) {
        guard state == self.state, moment == self.moment else { return }
        kill(getpid(), SIGKILL)
    }
}
