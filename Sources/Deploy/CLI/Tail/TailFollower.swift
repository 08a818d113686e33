internal import ControlPlane
internal import Glibc
internal import HTTP
internal import Synchronization
internal import System

/// Keeps a tail going: makes one, follows it, and makes another when the node has ended it for reasons of its own.
final class TailFollower: Sendable {
    private let worker: String
    private let filters: JSON
    private let printer: TailPrinter
    private let arguments: CommandLineArguments
    private let clock: any NodeClock = SystemClock()
    private let current = Mutex<(client: APIClient, path: APIPath)?>(nil)
    /// Set when the user has had enough.
    private let isEnding = Flag(false)

    private static let delayMin = Duration.milliseconds(500)
    private static let delayMax = Duration.seconds(10)

    init(worker: String, filters: JSON, printer: TailPrinter, _ arguments: CommandLineArguments) {
        self.worker = worker
        self.filters = filters
        self.printer = printer
        self.arguments = arguments
    }

    /// - Returns: when nobody reads what is printed; a signal ends the process from here.
    func run() async throws -> Int32 {
        let signals = Signals()
        // Lives as long as the process.
        Task {
            await signals.first()
            signals.exitAtNext()
            isEnding.set()
            await end()
            exit(ExitCode.success)
        }
        // Mistakes, and a node that isn't there, are told at once.
        var tail = try await make()
        var delay = Self.delayMin
        while true {
            let end = await follow(tail)
            // It was this process that deleted the tail.
            if isEnding.isSet { return ExitCode.success }
            switch end {
            case .unread:
                await self.end()
                return ExitCode.success
            case .closed(let code, let reason) where code == .normal || code == .policyViolation:
                guard reason.contains("expired") else { throw APIFailure("the node has ended the tail: \(reason)") }
                delay = Self.delayMin
            case .closed(_, let reason): note(reason.isEmpty ? "the node has closed the connection" : reason)
            case .lost(let reason, let wasFollowed):
                if wasFollowed { delay = Self.delayMin }
                note(reason)
            }
            tail = try await makeAgain(&delay)
        }
    }

    // MARK: Tails

    private struct Tail {
        let url: String
        let address: NodeAddress
    }

    private func make() async throws -> Tail {
        // Anew each time: a node that has started again may have another port.
        let client = try APIClient(arguments)
        let path: APIPath = "\(try await client.account())/workers/scripts/\(worker)/tails"
        let made = try await client.result("POST", path, filters)
        current.withLock { $0 = (client, "\(path)/\(made["id"]?.text ?? "")") }
        if printer.format == .pretty {
            let until = Output.time(made["expires_at"]?.text)
            Edge.complain("tail of \(Terminal.printable(worker)), until \(until) UTC; waiting for events")
        }
        return Tail(url: made["url"]?.text ?? "", address: client.node.address)
    }

    private func makeAgain(_ delay: inout Duration) async throws -> Tail {
        while true {
            try await clock.sleep(for: delay)
            delay = min(delay * 2, Self.delayMax)
            do { return try await make() } catch let failure as APIFailure where failure.status == 401 || failure.status == 403
            {
                throw failure
            } catch {
                // A node that starts has its API before its workers.
                note("\(error)")
            }
        }
    }

    private func note(_ reason: String) { Edge.complain("edge tail: \(Terminal.printable(reason)); trying again") }

    /// Deletes the tail, so that the node need not find out that nobody reads it.
    private func end() async {
        guard let (client, path) = current.withLock({ $0 }) else { return }
        _ = try? await client.call("DELETE", path)
    }

    // MARK: Following

    private enum End: Sendable {
        case closed(WebSocketCloseCode?, reason: String)
        case lost(String, wasFollowed: Bool)
        /// Nobody reads what is printed.
        case unread
    }

    /// On a thread of its own, which waits for the node.
    private func follow(_ tail: Tail) async -> End {
        await withCheckedContinuation { continuation in
            SystemThread(name: "edge-tail") { [self] in continuation.resume(returning: print(tail)) }.start()
        }
    }

    private func print(_ tail: Tail) -> End {
        var wasFollowed = false
        do throws(TailConnection.End) {
            let connection = try TailConnection(tail.url, at: tail.address)
            wasFollowed = true
            while true { guard printer.write(try connection.next()) else { return .unread } }
        } catch {
            switch error {
            case .closed(let code, let reason): return .closed(code, reason: reason)
            case .lost(let reason): return .lost(reason, wasFollowed: wasFollowed)
            }
        }
    }
}
