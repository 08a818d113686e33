internal import Glibc
internal import System

/// The start and the end of an isolate's process.
enum IsolateMain {
    /// The first channel's descriptor; the others follow, behind them the status page.
    private static let firstDescriptor: Int32 = 3

    static func run<W: Worker>(_ type: W.Type, objects: (any ObjectHosting)? = nil) -> Never {
        guard let channelCount = channelCount(CommandLine.arguments) else {
            stop(
                "\(W.self) is a worker of edge and is started by it: try `edge dev`, or `edge serve --help`.",
                code: EX_USAGE)
        }
        signal(SIGPIPE, SIG_IGN)
        let descriptors = (0..<channelCount).map { firstDescriptor + $0 }
        for number in descriptors { setNonBlocking(number) }
        guard let page = StatusPage(mapping: firstDescriptor + channelCount) else {
            stop("isolate: no status page at descriptor \(firstDescriptor + channelCount)", code: EX_OSERR)
        }
        do {
            let loop = try EventLoop(
                channels: descriptors, page: page, clock: IsolateClock(), objects: objects,
                entrypoints: (type as? any EntrypointWorker.Type)?.entrypoints ?? []
            ) { env in try W(env: env) }
            IsolateExecutors.install(loop)
            switch loop.run() {
            case .channelClosed, .shutDown: exit(EXIT_SUCCESS)
            case .malformed(let error):
                stop("isolate: the node sent a malformed frame: \(error)", code: EX_PROTOCOL)
            }
        } catch { stop("isolate: \(error)", code: EX_OSERR) }
    }

    /// `--edge-isolate=<channel count>`
    private static func channelCount(_ arguments: [String]) -> Int32? {
        let option = "--edge-isolate="
        guard arguments.count == 2, arguments[1].hasPrefix(option),
            let count = Int32(arguments[1].dropFirst(option.count)), (1...1024).contains(count)
        else { return nil }
        return count
    }

    private static func setNonBlocking(_ descriptor: Int32) {
        let flags = fcntl(descriptor, F_GETFL)
        _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
    }

    private static func stop(_ message: String, code: Int32) -> Never {
        let line = Array((message + "\n").utf8)
        _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
        exit(code)
    }
}
