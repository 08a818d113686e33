// A node that does nothing but hold one isolate, so that a test can kill it: `NodeStandIn <executable>` prints the
// isolate's process id and waits.
internal import Glibc
internal import Isolates
internal import Observability
internal import System

let clock = SystemClock()
let supervisor = try await Supervisor(
    logger: Logger(sink: DiscardingSink(), clock: clock, level: .error), callbacks: .init(onExit: { _, _ in }))
let image = try IsolateImage(
    path: CommandLine.arguments[1], libraryDirectories: IsolateImage.toolchainLibraryDirectories())
let isolate = try await supervisor.spawn(
    IsolateSpecification(
        image: image, workerName: "mute", channelCount: 1, identity: TenantIdentity(ordinal: 99)))
print(isolate.processID)
fflush(nil)
while true { pause() }
