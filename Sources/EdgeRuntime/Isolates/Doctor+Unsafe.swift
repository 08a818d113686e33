internal import CLinux
internal import Glibc
internal import Synchronization
internal import System

/// Says which layers of the sandbox this machine has, for `edge doctor`. Looks, changes nothing.
package enum Doctor {
    package enum State: String, Sendable { case active, partial, missing }

    package struct Finding: Sendable, Equatable {
        /// Short, for tables and JSON: `seccomp`.
        package let layer: String
        package let state: State
        /// What was found.
        package let detail: String
        /// What an isolate can or can't do because of it.
        package let consequence: String

        /// Whether it keeps tenants apart, rather than only saves resources.
        package var isWall: Bool { ["seccomp", "landlock", "uid", "proc"].contains(layer) }
    }

    package struct Report: Sendable {
        package let findings: [Finding]
        /// Whether isolates can be started at all.
        package var canRun: Bool {
            !findings.contains { ["seccomp", "pidfd"].contains($0.layer) && $0.state == .missing }
        }
        /// Whether a tenant's code can be run next to another tenant's.
        package var isSafeForTenants: Bool {
            canRun
                && !findings.contains { ["landlock", "uid"].contains($0.layer) && $0.state == .missing }
                && !findings.contains { $0.layer == "proc" && $0.state != .active }
        }
    }

    package static func examine() -> Report {
        Report(findings: [
            seccomp(), landlock(), noNewPrivileges(), identity(), resourceLimits(), pidfd(), processView(),
            namespaces(), cgroups(),
        ])
    }

    private static func seccomp() -> Finding {
        let canKill = edge_seccomp_action_available(0x8000_0000) == 1
        return Finding(
            layer: "seccomp", state: canKill ? .active : .missing,
            detail: canKill
                ? "filter with \(SystemCallTable.rules.count) rules"
                : "this kernel has no SECCOMP_RET_KILL_PROCESS",
            consequence:
                "isolates make only the system calls of the table; no sockets, processes, file writes")
    }

    private static func landlock() -> Finding {
        let abi = edge_landlock_abi()
        let gaps = [(4, "TCP"), (6, "signals and abstract sockets")].filter { abi < $0.0 }.map(\.1)
        return Finding(
            layer: "landlock", state: abi == 0 ? .missing : gaps.isEmpty ? .active : .partial,
            detail: abi == 0
                ? "not in this kernel, or not in its lsm= list"
                : "ABI \(abi)" + (gaps.isEmpty ? "" : ", without \(gaps.joined(separator: ", "))"),
            consequence: abi == 0
                ? "isolates can read every file that their user can read"
                : "isolates read their executable and system libraries, no other file")
    }

    private static func noNewPrivileges() -> Finding {
        // PR_GET_NO_NEW_PRIVS; the kernel has had it since 3.5.
        let isKnown = edge_no_new_privileges() >= 0
        return Finding(
            layer: "no_new_privs", state: isKnown ? .active : .missing,
            detail: isKnown ? "set in each isolate" : "unknown to this kernel",
            consequence: "no set-user-ID program can raise an isolate's rights")
    }

    private static func identity() -> Finding {
        let isRoot = geteuid() == 0
        return Finding(
            layer: "uid", state: isRoot ? .active : .missing,
            detail: isRoot
                ? "the node is root: each tenant has a uid of its own"
                : "the node runs as uid \(geteuid()): all isolates share it",
            consequence: isRoot
                ? "tenants can't signal or look at each other, and threads are counted per tenant"
                : "one layer less between tenants; good for development")
    }

    private static func resourceLimits() -> Finding {
        var limit = rlimit()
        // SAFETY: fills the struct it is lent.
        let isRead = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        let enough = isRead && limit.rlim_max >= 4096
        return Finding(
            layer: "rlimits", state: enough ? .active : .partial,
            detail: isRead
                ? "descriptors of the node: \(limit.rlim_cur), at most \(limit.rlim_max)" : "can't be read",
            consequence: enough
                ? "isolates: memory, stack, descriptors, no files, no core dumps"
                : "the node itself can hold few connections: raise the limit of open files (ulimit -n)")
    }

    private static func pidfd() -> Finding {
        let number = edge_pidfd_open(getpid())
        if number >= 0 { close(number) }
        return Finding(
            layer: "pidfd", state: number >= 0 ? .active : .missing,
            detail: number >= 0 ? "pidfd_open works" : "pidfd_open fails; Linux 5.3 or later is needed",
            consequence: "the node never signals or reaps the wrong process")
    }

    /// Tries it on a thread of its own: the change ends with the thread.
    private static func processView() -> Finding {
        let result = Tried()
        SystemThread(name: "edge-doctor") {
            // Failure to open /proc is the same finding.
            if let view = try? ProcessView(), view.extent == .own {
                result.isOwn.store(true, ordering: .releasing)
            }
            result.done.signal()
        }.start()
        result.done.wait(upTo: .seconds(5))
        let isOwn = result.isOwn.load(ordering: .acquiring)
        return Finding(
            layer: "proc", state: isOwn ? .active : .partial,
            detail: isOwn
                ? "isolates have a /proc of their own" : "the node may not mount a /proc for its isolates",
            consequence: isOwn
                ? "an isolate sees no process but itself"
                : "isolates see names and arguments of other processes, never memory or environment")
    }

    private final class Tried: Sendable {
        let isOwn = Atomic<Bool>(false)
        let done = EventCounter()
    }

    private static func namespaces() -> Finding {
        let exists = unsafe access("/proc/self/ns/user", F_OK) == 0
        return Finding(
            layer: "namespaces", state: exists ? .active : .missing,
            detail: exists ? "user namespaces are there; not used" : "no user namespaces; not needed",
            consequence: "isolates can't make any: clone and unshare are refused")
    }

    private static func cgroups() -> Finding {
        let isUnified = unsafe access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0
        let isWritable = unsafe access("/sys/fs/cgroup", W_OK) == 0
        return Finding(
            layer: "cgroup", state: isUnified && isWritable ? .active : .partial,
            detail: isUnified ? "version 2" + (isWritable ? "" : ", read-only") : "version 1 or none",
            consequence: "not used: memory and CPU are enforced by the watchdog and by rlimits")
    }
}
