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
        // Frames that are nearly right, from a seed.
        case "/fuzz":
            fuzz(seed: UInt64(argument) ?? 0)
            return .text("survived")
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

    /// Calls with every kind, binding and parent, and what may follow them, on streams that the SDK doesn't use.
    private func fuzz(seed: UInt64) {
        var random = Random(state: seed)
        var stream = UInt32(100_000)
        let kinds: [UInt16] = [32, 33, 34, 80] + Array(64...68) + Array(96...104) + [128, 129]
        for number in 0..<random.below(200) {
            var frame: [UInt8] = []
            func append<Integer: FixedWidthInteger>(_ value: Integer) {
                for shift in stride(from: 0, to: Integer.bitWidth, by: 8) {
                    frame.append(UInt8(truncatingIfNeeded: value >> Integer(shift)))
                }
            }
            var payload: [UInt8] = []
            var kind = UInt8(1)
            var target = stream
            // Frames on streams that were never opened end the isolate at once: nothing else would be tried.
            switch number == 0 ? 0 : random.below(10) {
            case 0..<6:
                stream += 2
                target = stream
                append(kinds[random.below(kinds.count)])
                append(random.below(8) == 0 ? UInt16.max : UInt16(random.below(6)))
                append(UInt32(random.below(20) * 2 + 1))
                payload = frame + random.message()
            case 6:
                kind = 2
                payload = random.bytes(random.below(3000))
            case 7: kind = 3
            case 8:
                kind = 4
                payload = [UInt8(random.below(8)), 0] + random.bytes(random.below(20))
            default:
                kind = 5
                append(UInt32(random.below(300_000)))
                payload = frame
            }
            // Mostly the youngest stream, sometimes an older one or an event's.
            if kind != 1, random.below(3) == 0 { target = stream - UInt32(random.below(20) * 2) }
            if kind != 1, random.below(200) == 0 { target = UInt32(random.below(20) * 2 + 1) }
            frame = []
            append(UInt32(payload.count))
            frame += [kind, UInt8(random.below(4)), 0, 0]
            append(target)
            frame += payload
            _ = unsafe write(3, frame, frame.count)
        }
    }

    private struct Random {
        var state: UInt64

        mutating func next() -> UInt64 {
            // SplitMix64.
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }

        mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
        mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

        /// Small numbers, short texts with their lengths, and noise: what messages are made of.
        mutating func message() -> [UInt8] {
            var bytes: [UInt8] = []
            for _ in 0..<below(12) {
                switch below(5) {
                case 0: bytes.append(UInt8(below(4)))
                case 1: bytes += [UInt8(below(20)), 0, 0, 0]
                case 2:
                    let text = Array(["key", "", "SELECT 1", "http://service/hello", "bucket"][below(5)].utf8)
                    bytes += [UInt8(text.count), 0, 0, 0] + text
                case 3: bytes += [UInt8](repeating: 0xFF, count: 8)
                default: bytes += self.bytes(below(30))
                }
            }
            return bytes
        }
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
