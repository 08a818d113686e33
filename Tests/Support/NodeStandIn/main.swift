// A node that does nothing but hold isolates. `NodeStandIn <executable>` prints the process id of one
// and waits, so that a test can kill the node; `NodeStandIn <executable> <count>` starts that many, one
// after another, and prints how long it took from the decision to spawn to the return of `spawn`, and to
// the first byte on the channel.
internal import Glibc
internal import Isolates
internal import Observability
internal import System

let clock = SystemClock()
let supervisor = try await Supervisor(
    logger: Logger(sink: DiscardingSink(), clock: clock, level: .error), callbacks: .init(onExit: { _, _ in })
)
let image = try IsolateImage(
    path: CommandLine.arguments[1], libraryDirectories: IsolateImage.toolchainLibraryDirectories())

func spawn(_ mode: String) async throws -> SpawnedIsolate {
    try await supervisor.spawn(
        IsolateSpecification(
            image: image, workerName: mode, channelCount: 1, identity: TenantIdentity(ordinal: 99)))
}

func measure(_ count: Int) async throws {
    var spawned: [Duration] = []
    var firstByte: [Duration] = []
    for _ in 0..<count {
        let start = clock.now()
        let isolate = try await spawn("hello")
        spawned.append(clock.now() - start)
        var item = pollfd(fd: isolate.channels[0], events: Int16(POLLIN), revents: 0)
        unsafe poll(&item, 1, 10_000)
        firstByte.append(clock.now() - start)
        close(isolate.channels[0])
    }
    for (name, times) in [("spawn returned", spawned.sorted()), ("first byte", firstByte.sorted())] {
        print("\(name): best \(times[0]), p50 \(times[count / 2]), p99 \(times[count * 99 / 100])")
    }
    await supervisor.shutDown()
}

if CommandLine.arguments.count > 2, let count = Int(CommandLine.arguments[2]), count > 0 {
    try await measure(count)
} else {
    print(try await spawn("mute").processID)
    fflush(nil)
    while true { pause() }
}
