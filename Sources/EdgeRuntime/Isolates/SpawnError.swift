package import System

/// Why an isolate did not start.
package enum SpawnError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file is not something this machine can run.
    case notExecutable(path: String, reason: String)
    /// A call of the node failed before anything was started.
    case system(SystemError)
    /// The new process could not be made ready: which step, and the kernel's reason. Nothing is left of
    /// it.
    case step(Step, errno: Int32)
    case invalidSpecification(String)
    /// The supervisor is shutting down.
    case stopped

    package enum Step: String, Sendable {
        case clone, session, descriptors, directory, resourceLimits, identity, parentDeath, noNewPrivileges,
            landlock,
            signals, seccomp, exec
    }

    package var description: String {
        switch self {
        case .notExecutable(let path, let reason): "\(path) cannot run as a worker: \(reason)"
        case .system(let error): "an isolate could not be started: \(error)"
        case .step(.exec, errno: 13):
            "an isolate could not be started: its executable must be readable and executable for every user, "
                + "because the isolate runs as its tenant's (chmod 755)"
        case .step(.exec, errno: 11):
            "an isolate could not be started: its tenant already runs as many threads as it may"
        case .step(let step, let errno):
            "an isolate could not be started: \(SystemError(step.rawValue, errno: errno))"
        case .invalidSpecification(let reason): "an isolate could not be started: \(reason)"
        case .stopped: "the node is stopping and starts no isolates"
        }
    }
}
