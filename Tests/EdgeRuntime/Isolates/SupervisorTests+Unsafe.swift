import CLinux
import Glibc
import System
import Testing

@testable import Isolates

@Suite struct `The supervisor` {
    /// Small limits, so that hostile isolates end soon.
    static var small: IsolateLimits {
        IsolateLimits(
            cpu: .milliseconds(100), extendedCPU: .milliseconds(300), backgroundCPU: .seconds(60),
            memoryBytes: 64 << 20, threadsMax: 32, tenantThreadsMax: 200)
    }

    @Test func `ends an endless loop and names its event`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("spin-on-page", channelCount: 2, limits: Self.small)
        let entry = isolate.ledgers[1].open(stream: 7)
        let exit = await node.exit(of: isolate)
        guard case .exceededCPU(let event, let used, let allowed) = exit.reason else {
            Issue.record("\(exit)")
            return
        }
        #expect(event == EventReference(channel: 1, stream: 7))
        #expect(allowed >= .milliseconds(100) && used > allowed)
        #expect(exit.cpuTime > .milliseconds(100))
        isolate.ledgers[1].close(entry)
    }

    @Test func `ends a loop that writes nothing on its page`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("spin", limits: Self.small)
        _ = isolate.ledgers[0].open(stream: 9)
        let exit = await node.exit(of: isolate)
        guard case .exceededCPU(let event, _, _) = exit.reason else {
            Issue.record("\(exit)")
            return
        }
        #expect(event == EventReference(channel: 0, stream: 9))
    }

    @Test func `ends an isolate that works without an event`() async throws {
        let node = try await TestNode()
        var limits = Self.small
        limits.backgroundCPU = .milliseconds(100)
        let isolate = try await node.spawn("spin-in-background", limits: limits)
        let exit = await node.exit(of: isolate)
        guard case .exceededCPU(nil, _, .milliseconds(100)) = exit.reason else {
            Issue.record("\(exit)")
            return
        }
    }

    @Test func `ends an isolate that takes too much memory`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("balloon", limits: Self.small)
        _ = isolate.ledgers[0].open(stream: 1)
        let exit = await node.exit(of: isolate)
        // On a busy machine the hard limit can be faster than the watchdog's next look: the allocation is refused, and
        // nothing was seen that would tell why the process aborted.
        if exit.reason == .crashed(signal: SIGABRT), exit.residentBytesMax == 0 { return }
        guard case .exceededMemory(let used, 67_108_864) = exit.reason else {
            Issue.record("\(exit)")
            return
        }
        #expect(used > 64 << 20 && used < 200 << 20)
    }

    @Test func `ends an isolate that starts too many threads`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("threads", limits: Self.small)
        let exit = await node.exit(of: isolate)
        guard case .exceededThreads(_, 32) = exit.reason else {
            Issue.record("\(exit)")
            return
        }
    }

    @Test func `contains deep recursion and abort`() async throws {
        let node = try await TestNode()
        let recursion = try await node.spawn("recursion")
        #expect(await node.exit(of: recursion).reason == .crashed(signal: SIGSEGV))
        let abort = try await node.spawn("abort")
        #expect(await node.exit(of: abort).reason == .crashed(signal: SIGABRT))
    }

    @Test func `reads a flood of output only so fast, while a neighbour answers`() async throws {
        let node = try await TestNode()
        let neighbour = try await node.spawn("hello")
        _ = await neighbour.answers(until: "hello")
        let clock = SystemClock()
        let start = clock.now()
        let flood = try await node.spawn("flood", limits: IsolateLimits(backgroundCPU: .seconds(60)))
        await node.notice(of: flood) { if case .output(let line) = $0 { line.hasPrefix("[") } else { false } }
        for _ in 0..<20 { #expect(await neighbour.echoes()) }
        node.supervisor.kill(flood.id, reason: .unresponsive("floods its standard error"))
        #expect(await node.exit(of: flood).reason == .killed(.unresponsive("floods its standard error")))
        let byteCount = node.output(of: flood).reduce(0) { $0 + $1.utf8.count }
        // A burst, what the pipe held at the end, and the rate for as long as it lasted.
        let seconds = Int((clock.now() - start) / .seconds(1)) + 1
        #expect(byteCount <= 2 * OutputBudget.burstBytes + OutputBudget.bytesPerSecond * seconds)
        #expect(await neighbour.echoes())
    }

    @Test func `tells of exits as they are`() async throws {
        let node = try await TestNode()
        let zero = try await node.spawn("exit:0")
        #expect(await node.exit(of: zero).reason == .exited(code: 0))
        #expect(await node.exit(of: zero).isFailure == false)
        let three = try await node.spawn("exit:3")
        #expect(await node.exit(of: three).reason == .exited(code: 3))
        let killed = try await node.spawn("mute")
        node.supervisor.kill(killed.id, reason: .malformedFrames("kind 9"))
        node.supervisor.kill(killed.id, reason: .requested)
        #expect(await node.exit(of: killed).reason == .killed(.malformedFrames("kind 9")))
    }

    @Test func `an isolate ends with its channel`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("hello")
        _ = await isolate.answers(until: "hello")
        isolate.closeChannels()
        #expect(await node.exit(of: isolate).reason == .exited(code: 0))
    }

    @Test func `shutting down leaves nothing behind`() async throws {
        let node = try await TestNode()
        var isolates: [SpawnedIsolate] = []
        for _ in 0..<5 { isolates.append(try await node.spawn("mute")) }
        await node.supervisor.shutDown()
        for isolate in isolates {
            let exit = await node.exit(of: isolate)
            #expect(exit.reason == .killed(.nodeStopping))
            #expect(kill(isolate.processID, 0) == -1)
        }
        await #expect(throws: SpawnError.stopped) { _ = try await node.spawn("mute") }
    }

    @Test func `no isolate outlives a node that is killed`() async throws {
        let (standIn, output) = try StandIn.start(TestNode.standInPath, TestNode.probePath)
        let isolate = try #require(Int32(StandIn.firstLine(output)))
        let descriptor = edge_pidfd_open(isolate)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        #expect(kill(standIn, SIGKILL) == 0)
        #expect(StandIn.ends(descriptor))
        StandIn.reap(standIn)
    }

    @Test func `says why something can't be started`() async throws {
        let directory = try TestDirectory()
        let text = try directory.write(Array("#!/bin/sh\n".utf8), as: "script", mode: 0o755)
        #expect(throws: SpawnError.notExecutable(path: text, reason: "it is no ELF file")) {
            _ = try IsolateImage(path: text)
        }
        #expect(throws: SpawnError.system(SystemError("open", errno: ENOENT, on: "/nowhere"))) {
            _ = try IsolateImage(path: "/nowhere")
        }
        let node = try await TestNode()
        let closed = try directory.write(try contents(TestNode.probePath), as: "closed", mode: 0o600)
        await #expect(throws: SpawnError.step(.exec, errno: EACCES)) {
            _ = try await node.spawn("hello", path: closed)
        }
        let none = IsolateSpecification(
            image: try IsolateImage(path: TestNode.probePath), workerName: "x", channelCount: 0)
        await #expect(throws: SpawnError.self) { _ = try await node.supervisor.spawn(none) }
        if geteuid() == 0 {
            let root = IsolateSpecification(
                image: try IsolateImage(path: TestNode.probePath), workerName: "x", channelCount: 1)
            await #expect(throws: SpawnError.self) { _ = try await node.supervisor.spawn(root) }
        }
        // It goes on after failures.
        #expect(await node.exit(of: try await node.spawn("exit:0")).reason == .exited(code: 0))
    }

    @Test func `warns before memory runs out, and shows what is used`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("hello")
        _ = await isolate.answers(until: "hello")
        let entry = isolate.ledgers[0].open(stream: 1)
        // The watchdog looks within a tick of the event's start; wait for it by its effect.
        while isolate.usage.residentBytes == 0 { await Task.yield() }
        isolate.ledgers[0].close(entry)
        #expect(isolate.usage.threadCount == 1)
        #expect(isolate.usage.cpuTime > .zero)
    }
}

/// The process that stands in for a node.
private enum StandIn {
    static func start(_ path: String, _ argument: String) throws -> (pid_t, Int32) {
        var ends: [Int32] = [-1, -1]
        guard unsafe edge_pipe(&ends) == 0 else { throw SystemError("pipe2", errno: errno) }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        var process: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [strdup(path), strdup(argument), nil]
        defer { unsafe arguments.forEach { unsafe free($0) } }
        let result = unsafe posix_spawn(&process, path, &actions, nil, &arguments, nil)
        close(ends[1])
        guard result == 0 else { throw SystemError("posix_spawn", errno: result, on: path) }
        return (process, ends[0])
    }

    static func firstLine(_ descriptor: Int32) -> String {
        var text: [UInt8] = []
        var byte: UInt8 = 0
        while true {
            var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard unsafe poll(&item, 1, 30_000) > 0, unsafe read(descriptor, &byte, 1) == 1 else { break }
            guard byte != UInt8(ascii: "\n") else { break }
            text.append(byte)
        }
        close(descriptor)
        return String(decoding: text, as: UTF8.self)
    }

    static func ends(_ processDescriptor: Int32) -> Bool {
        var item = pollfd(fd: processDescriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&item, 1, 10_000) == 1
    }

    static func reap(_ process: pid_t) {
        var status: Int32 = 0
        unsafe waitpid(process, &status, 0)
    }
}
