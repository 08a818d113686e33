internal import ControlPlane
internal import Glibc
internal import Host
internal import Observability
internal import Releases
internal import System

/// Replaces this process of a node by another one: `edge upgrade`.
///
/// What happens, in this order; whatever fails before the last step leaves everything as it was:
/// 1. The other process starts, gets the listening sockets, and does all that needs no state.
/// 2. Connections that can't be handed on, those with TLS and of HTTP/2, hear that they end.
/// 3. *Hold*: nothing new begins. New connections wait in the kernel, plain ones without a request are parked. When what is
///    going on needs stores for longer than the hold may last, all goes on, and it is tried again a little later.
/// 4. The stores are closed, and the other process opens them; hibernating WebSockets are parked, and it knows them before it has
///    an object. Streams that are being answered stay here.
/// 5. The other process serves, and says so: it has the listeners and all that is parked from then on. This one finishes
///    its streams, handing on their connections too, and ends.
actor Succession: NodeUpgrade {
    /// What it works on, once the node serves.
    struct Parts: Sendable {
        var node: Node
        var state: StateDirectory
        var accounts: Accounts
        var drain: NodeDrain
        var health: NodeHealth
        var clock: any NodeClock
        var logger: Logger
        /// How long requests may wait for those before them to end, before all goes on.
        var holdMax: Duration
        /// Writes again what tells commands where the node is.
        var announce: @Sendable () -> Void
        /// Called when the other process is the node.
        var end: @Sendable () -> Void
    }

    private var parts: Parts?
    private var current: UpgradeReport
    /// The other process, once it is the node.
    private(set) var successor: Int32?
    private var socket: RecordSocket?

    /// What opening the stores and starting isolates may take, while requests wait.
    private static let openingMax = Duration.seconds(30)
    /// Connections that can't be handed on have so long to hear that they end.
    private static let announcementTime = Duration.seconds(1)
    private static let pauseBetweenHolds = Duration.milliseconds(500)

    init(after predecessor: Predecessor?) {
        current = UpgradeReport(state: .none, number: 0, processID: getpid())
        guard let predecessor else { return }
        // Its number is known once it has said it.
        follows = predecessor
    }

    private var follows: Predecessor?
    private var isBeginning = false

    /// The node serves.
    func begin(with parts: Parts) {
        self.parts = parts
        guard let follows else { return }
        current = UpgradeReport(
            state: .succeeded, number: follows.number, binary: OwnExecutable.path, processID: getpid(),
            detail: "this process serves", heldMilliseconds: follows.heldMilliseconds)
        current.socketCount = follows.socketCount
    }

    func report() -> UpgradeReport {
        guard parts == nil, let follows else { return current }
        return UpgradeReport(
            state: .running, number: follows.number, binary: OwnExecutable.path, processID: getpid(),
            detail: "this process goes on with what it was given")
    }

    func begin(binary: String, patience: Duration) async throws(UpgradeRefusal) -> UpgradeReport {
        guard let parts else { throw UpgradeRefusal("the node is starting: try again when it is ready") }
        guard current.state != .running, !isBeginning else {
            throw UpgradeRefusal("upgrade \(current.number), to \(current.binary), is in progress")
        }
        guard successor == nil, !parts.drain.isLeaving else { throw UpgradeRefusal("the node is being drained, or is ending") }
        guard binary.hasPrefix("/") else { throw UpgradeRefusal("\(binary) is no absolute path") }
        guard unsafe access(binary, X_OK) == 0 else {
            throw UpgradeRefusal("\(binary) can't be executed: \(SystemError("access", errno: errno))")
        }
        isBeginning = true
        defer { isBeginning = false }
        try await refuseDeployments(parts)
        let (own, other): (RecordSocket, RecordSocket)
        let process: Int32
        do throws(SystemError) {
            (own, other) = try RecordSocket.pair()
            process = try ChildProcess.start(
                binary, [binary] + CommandLine.arguments.dropFirst(), environment: Self.environment(),
                passing: other.rawValue)
        } catch {
            await admitDeployments(parts)
            throw UpgradeRefusal("\(binary) can't be started: \(error)")
        }
        current = UpgradeReport(
            state: .running, number: current.number + 1, binary: binary, processID: getpid(), detail: "the new process starts")
        parts.logger.log(
            .notice, "upgrade begins", [("binary", binary), ("process", "\(process)"), ("number", "\(current.number)")])
        // The node's end awaits it, by `isRunning`.
        Task { await self.run(parts, process, own, until: parts.clock.now() + patience) }
        return current
    }

    var isRunning: Bool { current.state == .running }

    /// Deployments and upgrades both replace what serves: one after the other. All tenants', or none.
    private func refuseDeployments(_ parts: Parts) async throws(UpgradeRefusal) {
        for runner in parts.accounts.runners {
            do throws(DeploymentError) {
                try await runner.deployments.refuse(
                    because: "the node's process is being replaced (edge upgrade): deploy again when that has ended")
            } catch {
                await admitDeployments(parts)
                throw UpgradeRefusal("tenant \(runner.tenant): \(Self.text(of: error))")
            }
        }
    }

    private static func text(of error: DeploymentError) -> String {
        guard case .locked(let record) = error else { return error.description }
        return
            "deployment \(record.number) is in progress (\(record.state)): upgrade when it has ended, or stop it with \"edge "
            + "deploy abort \(record.number)\""
    }

    private func admitDeployments(_ parts: Parts) async {
        for runner in parts.accounts.runners { await runner.deployments.admit() }
    }

    private static func environment() -> [String] {
        var list: [String] = []
        var next = unsafe environ
        // SAFETY: the environment ends with a null pointer, and nothing changes it once the node runs.
        while let text = unsafe next.pointee {
            list.append(unsafe String(cString: text))
            unsafe next += 1
        }
        list.removeAll { $0.hasPrefix("\(HandOver.variable)=") }
        list.append("\(HandOver.variable)=3")
        let isFollowed = list.contains { $0.hasPrefix("\(HandOver.followerVariable)=") }
        // This process is the one that waits, if nobody does: see `Follower`.
        if !isFollowed, !ServiceManager.isThere { list.append("\(HandOver.followerVariable)=\(getpid())") }
        return list
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private func run(_ parts: Parts, _ process: Int32, _ socket: RecordSocket, until deadline: Instant) async {
        do {
            try await prepare(parts, socket, until: deadline)
            try await replace(parts, process, socket, until: deadline)
            self.socket = socket
            successor = process
            current.state = .succeeded
            current.detail = "process \(process) serves"
            parts.logger.log(
                .notice, "upgrade succeeded",
                [
                    ("process", "\(process)"), ("held_ms", "\(current.heldMilliseconds)"),
                    ("websockets", "\(current.socketCount)"), ("number", "\(current.number)"),
                ])
            parts.end()
        } catch {
            await Self.end(process)
            await parts.node.set(.serving)
            await admitDeployments(parts)
            current.state = .failed
            current.socketCount = 0
            current.detail = "\(error)"
            parts.logger.log(
                .error, "upgrade failed, and this process goes on: \(error)", [("number", "\(current.number)")])
        }
    }

    /// What the other process says next, which must be of this kind.
    @discardableResult
    private func expect(
        _ kind: String, _ socket: RecordSocket, _ parts: Parts, until deadline: Instant
    ) async throws -> String {
        let patience = deadline - parts.clock.now()
        let record = try await next(socket, within: patience, "the new process took too long (it was to say \"\(kind)\")")
        guard let record else {
            throw Failure("the new process ended; its messages are in the log (it was to say \"\(kind)\")")
        }
        guard record.text.hasPrefix(kind) else { throw Failure("the new process says \(record.text.prefix(80)), not \(kind)") }
        return record.text
    }

    private func next(
        _ socket: RecordSocket, within patience: Duration, _ lateness: String
    ) async throws -> RecordSocket.Record? {
        do throws(SystemError) {
            return try await HandOver.blocking { () throws(SystemError) in try socket.receive(within: patience) }
        } catch {
            if error.errno == ETIMEDOUT { throw Failure(lateness) }
            throw error
        }
    }

    /// Steps 1 and 2.
    private func prepare(_ parts: Parts, _ socket: RecordSocket, until deadline: Instant) async throws {
        let hello = try await expect("hello ", socket, parts, until: deadline).split(separator: "\n")
        guard let head = hello.first, head.split(separator: " ").dropFirst().first == "\(HandOver.protocolVersion)" else {
            throw Failure("the new process hands over in another way (\(hello.first ?? "")): restart the node instead")
        }
        guard hello.count == 2, hello[1] == StateDirectory.format else {
            throw Failure(
                "the new process writes the state as \"\(hello.last ?? "")\", this one as \"\(StateDirectory.format)\"")
        }
        let (listeners, number) = (await parts.node.listeners(), current.number)
        try await HandOver.blocking { () throws(SystemError) in
            try HandOver.send(listeners, upgrade: number, over: socket)
        }
        try await expect("prepared", socket, parts, until: deadline)
        await parts.node.set(.replacing)
        if await parts.node.hasConnectionsThatStay() { try await parts.clock.sleep(for: Self.announcementTime) }
    }

    /// Steps 3 to 5.
    private func replace(_ parts: Parts, _ process: Int32, _ socket: RecordSocket, until deadline: Instant) async throws {
        let runners = parts.accounts.runners
        let began = try await quieten(parts, runners, until: deadline)
        await parts.node.endNewcomers()
        await parts.health.pause()
        parts.node.cutOffStores()
        for runner in runners { await runner.closeStores() }
        parts.state.release()
        current.detail = "the new process opens the stores"
        let openingEnd = max(parts.clock.now() + Self.openingMax, deadline)
        if let failure = await failureToGive(parts, process, socket, since: began, until: openingEnd) {
            await revive(parts, process, runners)
            throw failure
        }
        current.heldMilliseconds = (parts.clock.now() - began).wholeMilliseconds
        await parts.node.abandonAll()
    }

    // The two below stand apart from `replace` because the optimiser of Swift 6.2 dies of them together.

    private func failureToGive(
        _ parts: Parts, _ process: Int32, _ socket: RecordSocket, since began: Instant, until deadline: Instant
    ) async -> (any Error)? {
        do {
            try await give(parts, process, socket, since: began, until: deadline)
            return nil
        } catch {
            return error
        }
    }

    private func revive(_ parts: Parts, _ process: Int32, _ runners: [ReleaseRunner]) async {
        // Before the stores are touched, or two processes might have them.
        await Self.end(process)
        ServiceManager.tell("MAINPID=\(getpid())")
        await takeBack(parts, runners)
        await goOn(parts, runners)
    }

    /// Returns when nothing new begins and nothing that is going on needs stores.
    ///
    /// - Returns: since when requests wait.
    /// - Throws: when there was no such moment; all goes on then.
    private func quieten(_ parts: Parts, _ runners: [ReleaseRunner], until deadline: Instant) async throws -> Instant {
        while true {
            current.detail = "batches of queues are finished"
            try await pause(runners)
            current.detail = "open requests are finished"
            let began = parts.clock.now()
            await parts.node.holdAll()
            guard let left = await quiet(parts, until: began + parts.holdMax) else { return began }
            await goOn(parts, runners)
            guard parts.clock.now() < deadline else {
                throw Failure(
                    "what is going on left no moment: \(left.requestCount) requests, \(left.eventCount) events and background "
                        + "work, \(left.newcomerCount) handshakes; try again, with more --timeout")
            }
            try await parts.clock.sleep(for: Self.pauseBetweenHolds)
        }
    }

    /// All of them, or none.
    private func pause(_ runners: [ReleaseRunner]) async throws {
        for (index, runner) in runners.enumerated() {
            do { try await runner.pause() } catch {
                for paused in runners.prefix(index) { await paused.unpause() }
                throw error
            }
        }
    }

    private func goOn(_ parts: Parts, _ runners: [ReleaseRunner]) async {
        await parts.node.releaseAll()
        for runner in runners { await runner.unpause() }
    }

    /// The stores are free: has the other process open them, and makes it the node.
    private func give(
        _ parts: Parts, _ process: Int32, _ socket: RecordSocket, since began: Instant, until limit: Instant
    ) async throws {
        let parked = await parts.node.parked()
        let sockets = await parts.node.parkSockets()
        current.socketCount = sockets.count { $0.descriptor != nil }
        try await HandOver.blocking { () throws(SystemError) in
            try HandOver.send(parked, over: socket)
            try HandOver.send(sockets, over: socket)
            try socket.send("released")
        }
        try await expect("serving", socket, parts, until: limit)
        ServiceManager.tell("MAINPID=\(process)")
        let held = (parts.clock.now() - began).wholeMilliseconds
        try await HandOver.blocking { () throws(SystemError) in try socket.send("go \(held)") }
        try await expect("accepted", socket, parts, until: limit)
    }

    /// - Returns: `nil` once nothing needs stores; else what still does.
    private func quiet(_ parts: Parts, until deadline: Instant) async -> Node.Unfinished? {
        while true {
            let left = await parts.node.unfinished()
            let hasTime = parts.clock.now() < deadline
            // Short answers may as well end here; long ones stay.
            if left.isIdle, left.streamCount == 0 || !hasTime { return nil }
            if !hasTime {
                // Who has only opened a connection had all the hold to say something.
                return left.requestCount == 0 && left.eventCount == 0 ? nil : left
            }
            try? await parts.clock.sleep(for: .milliseconds(2))
        }
    }

    /// The stores are this process' again.
    private func takeBack(_ parts: Parts, _ runners: [ReleaseRunner]) async {
        let state = parts.state
        await withCheckedContinuation { continuation in
            SystemThread(name: "edge-upgrade") {
                state.retake()
                continuation.resume()
            }.start()
        }
        for runner in runners {
            do { try await runner.reopenStores() } catch {
                parts.logger.log(
                    .error, "a tenant is out of service until the node is started anew: \(error)", [("tenant", runner.tenant)])
            }
        }
        parts.health.goOn()
        parts.announce()
    }

    /// Ends the other process and waits until it is gone, and its locks with it.
    private static func end(_ process: Int32) async {
        var status: Int32 = 0
        // SAFETY: waitpid fills the integer whose address it is given. Where it has been reaped, its number is somebody else's.
        guard unsafe waitpid(process, &status, WNOHANG) == 0 else { return }
        _ = kill(process, SIGKILL)
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            SystemThread(name: "edge-upgrade") {
                var status: Int32 = 0
                // SAFETY: waitpid fills the integer whose address it is given.
                while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
                continuation.resume()
            }.start()
        }
    }

    /// After the other process has become the node: finishes what is being answered here.
    func finish(within limit: Duration) async {
        guard let parts, let socket else { return }
        let deadline = parts.clock.now() + limit
        while true {
            let left = await parts.node.unfinished()
            let late = await parts.node.takeParked()
            if !late.isEmpty {
                do throws(SystemError) {
                    try await HandOver.blocking { () throws(SystemError) in try HandOver.send(late, over: socket) }
                } catch { parts.logger.log(.warning, "connections could not be handed on: \(error)") }
                for connection in late { close(connection.descriptor) }
            }
            if left.requestCount + left.streamCount == 0 || parts.clock.now() >= deadline { break }
            try? await parts.clock.sleep(for: .milliseconds(20))
        }
        _ = await parts.node.drain(until: parts.clock.now() + .seconds(5))
    }
}
