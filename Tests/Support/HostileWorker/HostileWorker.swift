// The worker that tries to break out: one route per attack. Each answers what it got away with; most never answer, because
// the isolate is ended. Tests run it beside a well-behaved neighbour.

import Glibc
import Workers

@main final class HostileWorker: FetchHandler {
    init(env: Env) throws {}

    func fetch(_ request: Request, env: Env, context: ExecutionContext) async throws -> Response {
        let argument = request.url.searchParameters.get("argument") ?? ""
        switch request.path {
        case "/hello": return .text("hello")
        case "/loop": while true { spin() }
        // Yields in between, so that no single run of code is long.
        case "/slices":
            while true {
                for _ in 0..<1000 { spin() }
                await Task.yield()
            }
        case "/threads": return .text("started \(startThreads())")
        case "/balloon": balloon()
        case "/fork":
            let child = rawFork()
            return .text(child < 0 ? "refused \(errno)" : "forked")
        case "/exec": return .text(exec())
        case "/socket":
            let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            return .text(number < 0 ? "refused \(errno)" : "got a socket")
        case "/open":
            let number = unsafe open(argument, O_RDONLY)
            return .text(number < 0 ? "refused \(errno)" : "opened")
        case "/write":
            let number = unsafe open(argument, O_WRONLY | O_CREAT, 0o666)
            return .text(number < 0 ? "refused \(errno)" : "opened")
        case "/signal": return .text(kill(pid_t(argument) ?? getppid(), SIGTERM) == 0 ? "signalled" : "refused \(errno)")
        case "/descriptors":
            var count = 0
            while dup(0) >= 0, count < 1_000_000 { count += 1 }
            return .text("got \(count)")
        case "/recursion": return .text("\(recurse(1))")
        case "/garbage": flood(with: [UInt8](repeating: 0xEE, count: 64 << 10), times: 1)
        // A frame that claims four gigabytes.
        case "/giant": flood(with: [0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 1, 0, 0, 0], times: 1)
        // Data on a stream that nobody opened.
        case "/unknown": flood(with: [4, 0, 0, 0, 2, 0, 0, 0, 0x0F, 0xFF, 0, 0, 1, 2, 3, 4], times: 1)
        case "/logs":
            for number in 0..<200_000 { context.log.info("flood \(number)") }
            return .text("logged")
        case "/stderr":
            let line = Array("flood on standard error\n".utf8)
            for _ in 0..<200_000 { _ = unsafe write(2, line, line.count) }
            return .text("written")
        // Sleeps on the loop's own thread: neither reads nor computes.
        case "/deaf": while true { usleep(1_000_000) }
        case "/exit": exit(3)
        case "/trap": return .text("\([Int]()[request.path.count])")
        default: return .text("not found", status: 404)
        }
        return .text("unreachable")
    }

    @inline(never) private func spin() { _ = getpid() }

    private func startThreads() -> Int {
        var count = 0
        for _ in 0..<500 {
            var thread = pthread_t()
            let result = unsafe pthread_create(&thread, nil, { _ in while true { usleep(100_000) } }, nil)
            if result == 0 { count += 1 }
        }
        return count
    }

    private func balloon() {
        while true {
            let piece = UnsafeMutableRawPointer.allocate(byteCount: 8 << 20, alignment: 4096)
            unsafe piece.initializeMemory(as: UInt8.self, repeating: 1, count: 8 << 20)
        }
    }

    private func rawFork() -> Int {
        // fork(2) is number 57 on x86-64 and doesn't exist on arm64, where clone(2) stands for it.
        #if arch(x86_64)
            return syscall(57)
        #else
            return syscall(220, 17, 0, 0, 0, 0)
        #endif
    }

    private func exec() -> String {
        let path = "/bin/sh"
        let result = unsafe path.withCString { name -> Int32 in
            var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [UnsafeMutablePointer(mutating: name), nil]
            return unsafe execv(name, &arguments)
        }
        return result < 0 ? "refused \(errno)" : "executed"
    }

    /// Deeper than any stack; the bound is only there for the compiler.
    private func recurse(_ depth: Int) -> Int {
        guard depth < Int.max else { return 0 }
        var local = (depth, depth &* 3, depth &* 5)
        local.0 = recurse(depth + 1) &+ local.1
        return local.0 &+ local.2
    }

    /// Writes bytes straight to the channels.
    private func flood(with bytes: [UInt8], times: Int) {
        for number in Int32(3)...8 {
            for _ in 0..<times { _ = unsafe write(number, bytes, bytes.count) }
        }
    }
}

/// syscall(2) is variadic, which Swift can't call; the system-call number decides how many arguments count.
@_silgen_name("syscall")
private func syscall(_ number: Int, _ a: Int = 0, _ b: Int = 0, _ c: Int = 0, _ d: Int = 0, _ e: Int = 0) -> Int
