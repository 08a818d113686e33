import Glibc
import Seccomp
import System
import Testing

@testable import Isolates

/// Real processes of `Tests/Support/SandboxProbe`, each trying what a hostile worker would.
@Suite struct `The sandbox` {
    @Test func `refuses every call of the survey, and the isolate lives on`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("survey")
        let answers = await isolate.answers()
        #expect(answers.count > 70)
        #expect(answers.last?.attempt == "done")
        for answer in answers.dropLast() {
            #expect(answer.result == -1, "\(answer.attempt) succeeded")
            #expect([EPERM, EACCES, ENOSYS, EINVAL, EBADF, ENOENT].contains(answer.errno), "\(answer)")
        }
        // Libraries fall back to older calls only when the kernel seems to lack the new ones.
        for name in ["clone3", "462"] {
            #expect(answers.first { $0.attempt.contains(name) }?.errno == ENOSYS, "\(name)")
        }
        #expect(await isolate.echoes())
        isolate.closeChannels()
        #expect(await node.exit(of: isolate).reason == .exited(code: 0))
    }

    @Test
    func
        `lets a worker have threads, its channel, its page, libraries and random numbers, and no other descriptor`()
        async throws
    {
        let node = try await TestNode()
        let isolate = try await node.spawn("needs", channelCount: 3)
        let answers = await isolate.answers()
        #expect(answers.last?.attempt == "done")
        for answer in answers { #expect(answer.result >= 0, "\(answer)") }
        await node.notice(of: isolate) { $0 == .output("hello") }
    }

    @Test(arguments: [
        "ptrace", "process_vm_readv", "pidfd_open", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup",
        "keyctl", "unshare", "mount", "chroot", "init_module", "setuid", "reboot",
    ])
    func `ends an isolate that attacks`(call: String) async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("attack:" + call)
        #expect(await isolate.answers(until: call).isEmpty)
        #expect(await node.exit(of: isolate).reason == .violatedSandbox)
    }

    #if arch(x86_64)
        @Test(arguments: ["int80", "x32"])
        func `ends an isolate that calls by another architecture's numbers`(mode: String) async throws {
            let node = try await TestNode()
            let isolate = try await node.spawn(mode)
            #expect(await isolate.answers(until: mode).isEmpty)
            #expect(await node.exit(of: isolate).reason == .violatedSandbox)
        }
    #endif

    @Test func `hides files that everybody may read, another tenant's among them`() async throws {
        let directory = try TestDirectory()
        let file = try directory.write(Array("secret".utf8), as: "other-tenant.sqlite")
        let node = try await TestNode()
        var paths = [
            file, "/etc/passwd", "/etc/hostname", "/proc/\(getpid())/mem", "/proc/\(getpid())/environ",
        ]
        if Doctor.examine().findings.contains(where: { $0.layer == "proc" && $0.state == .active }) {
            paths += ["/proc/\(getpid())/cmdline", "/proc/1/status", "/proc/net/tcp", "/proc/cpuinfo"]
        } else {
            print("skipped in part: the node can't mount a /proc for its isolates")
        }
        for path in paths {
            let isolate = try await node.spawn("open:" + path)
            let answer = await isolate.answers(until: "open").first
            #expect(answer?.result == -1, "\(path)")
            #expect([EACCES, EPERM, ENOENT].contains(answer?.errno), "\(path)")
        }
    }

    @Test func `lets an isolate with a directory of its own write there and nowhere else`() async throws {
        let directory = try TestDirectory()
        let theirs = try directory.write(Array("theirs".utf8), as: "theirs")
        let root = String(theirs.dropLast("/theirs".count))
        let node = try await TestNode()
        for name in ["mine", "other"] { #expect(unsafe mkdir("\(root)/\(name)", 0o777) == 0) }
        #expect(unsafe rename(theirs, "\(root)/other/theirs") == 0)
        #expect(unsafe symlink("\(root)/other", "\(root)/mine/link") == 0)
        // Nobody else can go through what is above it; and were it not for the sandbox, all could be written.
        let modes: [(String, mode_t)] = [("", 0o711), ("/mine", 0o777), ("/other", 0o777), ("/other/theirs", 0o666)]
        for (path, mode) in modes { #expect(unsafe chmod(root + path, mode) == 0) }
        let isolate = try await node.spawn("files", files: WritableFiles(directory: root, names: ["mine"]))
        let answers = await isolate.answers()
        #expect(answers.last?.attempt == "done")
        let border = answers.firstIndex { $0.attempt == "refused" } ?? 0
        #expect(border == 9)
        for answer in answers[..<border] { #expect(answer.result >= 0, "\(answer)") }
        for answer in answers[(border + 1)...].dropLast() { #expect(answer.result == -1, "\(answer)") }
        #expect(try contents("\(root)/other/theirs") == Array("theirs".utf8))

        let ordinary = try await node.spawn("files")
        for answer in await ordinary.answers() where !["refused", "done", "execute"].contains(answer.attempt) {
            #expect(answer.result == -1, "an isolate without files: \(answer)")
        }
    }

    @Test func `gives a tenant its own user, and none of the node's rights`() async throws {
        guard geteuid() == 0 else {
            print("skipped: the node isn't root, isolates run as its user")
            return
        }
        let node = try await TestNode()
        let identity = TenantIdentity(ordinal: 7, base: 620_000)
        let isolate = try await node.spawn("mute", identity: identity)
        let status = String(decoding: try contents("/proc/\(isolate.processID)/status"), as: UTF8.self)
        let fields = Dictionary(
            status.split(separator: "\n").map { line in
                let parts = line.split(separator: ":", maxSplits: 1)
                return (
                    String(parts[0]),
                    parts.dropFirst().joined().split(whereSeparator: \.isWhitespace).map(String.init)
                )
            }, uniquingKeysWith: { first, _ in first })
        #expect(fields["Uid"] == Array(repeating: "620007", count: 4))
        #expect(fields["Gid"] == Array(repeating: "620007", count: 4))
        #expect(fields["Groups"] == [])
        #expect(fields["CapEff"] == ["0000000000000000"])
        #expect(fields["NoNewPrivs"] == ["1"])
        #expect(fields["Seccomp"] == ["2"])
        #expect(fields["SigIgn"]?.first?.allSatisfy { $0 == "0" } == true)
    }

    @Test func `can't shrink the memory it shares with the node`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("shrink-status-page")
        #expect(await isolate.answers(until: "ftruncate").first?.result == -1)
        #expect(isolate.statusPage.turn == 0)
    }

    @Test func `bounds descriptors`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("descriptors")
        let opened = await isolate.answers(until: "descriptors").first?.result ?? .max
        #expect((1...256).contains(opened))
        #expect(await isolate.echoes())
    }

    @Test func `lets Swift's runtime work`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("swift", path: TestNode.guestPath)
        let lines = await isolate.lines { $0 == "done 0" }
        #expect(
            lines == [
                "json 15", "tasks 110", "dispatch 1", "dispatch 1000", "sleep 1", "random 1", "file refused",
                "done 0",
            ])
        let exit = await node.exit(of: isolate)
        #expect(exit.reason == .exited(code: 0), "\(exit) \(node.output(of: isolate))")
    }

    @Test func `reports a failed precondition as a crash, with its message`() async throws {
        let node = try await TestNode()
        let isolate = try await node.spawn("trap", path: TestNode.guestPath)
        let exit = await node.exit(of: isolate)
        guard case .crashed(let signal) = exit.reason else {
            Issue.record("\(exit)")
            return
        }
        #expect([SIGILL, SIGTRAP].contains(signal))
        #expect(node.output(of: isolate).contains { $0.contains("on purpose") })
    }

    @Test func `compiles every rule of the table, and each name stands once`() throws {
        let names =
            SystemCallTable.allowed.flatMap(\.names) + SystemCallTable.missing + SystemCallTable.hostile
        #expect(Set(names).count == names.count)
        #expect((SystemCallTable.allowed + SystemCallTable.allowedWithFiles).allSatisfy { !$0.reason.isEmpty })
        for rules in [SystemCallTable.rules, SystemCallTable.rules(executable: 1024, files: true)] {
            let filter = try SyscallFilter(rules, otherwise: .refuse(errno: EPERM))
            #expect((100...4096).contains(filter.instructionCount))
        }
    }
}
