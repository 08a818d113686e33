internal import CLinux
internal import Glibc

/// What a process has to do that waits for another one on behalf of whoever waits for it.
package enum ProcessTree {
    /// Descendants whose parent ends become this process' children.
    package static func adoptOrphans() -> Bool { edge_adopt_orphans() == 0 }

    /// Gives SIGTERM, SIGHUP and SIGINT that others send to the process set by `setReceiver`; what a terminal sends its whole
    /// group gets by itself.
    package static func passSignalsOn() { edge_pass_signals_on() }
    package static func setReceiver(_ process: Int32) { edge_set_signal_receiver(process) }

    /// A child that runs in this process' session, as isolates don't; `nil`: there is none.
    package static func successor() -> Int32? {
        let session = getsid(0)
        // Of every thread: any of them may have been given a child.
        for thread in FileTree.list("/proc/self/task") {
            guard let text = try? FileTree.readTextIfPresent("/proc/self/task/\(thread)/children") else { continue }
            let children = text.split(separator: " ").compactMap { Int32($0.filter(\.isNumber)) }
            if let next = children.first(where: { getsid($0) == session }) { return next }
        }
        return nil
    }

    /// Calls `body` on a thread of its own when `process` has ended.
    package static func onEnd(of process: Int32, _ body: @escaping @Sendable () -> Void) {
        let number = edge_pidfd_open(process)
        guard number >= 0 else { return body() }
        SystemThread(name: "edge-follower") {
            let descriptor = Descriptor(owning: number)
            var item = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
            // SAFETY: poll reads and writes the one element it is told about.
            while unsafe poll(&item, 1, -1) < 0, errno == EINTR {}
            body()
        }.start()
    }
}
