internal import CCurl
internal import Glibc
internal import Synchronization
package import System

/// The thread on which all transfers run.
package final class CurlEngine: Sendable {
    private let commands: CurlCommands
    private let clock: any NodeClock

    /// Starts the thread; its name is cut to 15 bytes.
    package init(threadName: String, clock: any NodeClock) {
        self.clock = clock
        let commands = CurlCommands()
        self.commands = commands
        SystemThread(name: threadName) {
            var loop = CurlLoop(commands)
            loop.run()
        }.start()
    }

    deinit { commands.close() }

    /// Begins a transfer. Any thread.
    package func start(_ request: CurlRequest) -> CurlTransfer {
        let transfer = CurlTransfer(request, clock: clock, engine: commands)
        if !commands.start(transfer) { transfer.end(.closed) }
        return transfer
    }

    /// Ends all transfers and the thread. Later ones end at once.
    package func close() { commands.close() }
}

/// What other threads want of the engine's.
// `multi` is for curl_multi_wakeup, which any thread may call.
@safe final class CurlCommands: @unchecked Sendable {
    enum Command {
        case start(CurlTransfer)
        /// What is paused has changed.
        case update(CurlTransfer)
        case cancel(CurlTransfer)
    }
    private struct State {
        var commands: [Command] = []
        var isClosed = false
        /// The loop has ended: nobody takes commands, and `multi` is gone.
        var hasEnded = false
    }
    private let state = Mutex(State())
    let multi: OpaquePointer?

    /// curl_global_init may run once only, and a static's initializer does.
    static let isReady: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    init() {
        precondition(Self.isReady, "libcurl starts unless memory is exhausted")
        unsafe multi = curl_multi_init().map { OpaquePointer($0) }
    }

    func start(_ transfer: CurlTransfer) -> Bool { add(.start(transfer)) }
    func update(_ transfer: CurlTransfer) { _ = add(.update(transfer)) }
    func cancel(_ transfer: CurlTransfer) { if !add(.cancel(transfer)) { transfer.end(.closed) } }

    func close() {
        state.withLock { state in
            state.isClosed = true
            if !state.hasEnded { wake() }
        }
    }

    private func add(_ command: Command) -> Bool {
        state.withLock { state in
            guard !state.isClosed else { return false }
            state.commands.append(command)
            wake()
            return true
        }
    }

    /// Under the lock: the loop frees `multi` only after it has set `hasEnded` there.
    private func wake() {
        // SAFETY: the handle is live, see above.
        if let multi = unsafe multi { _ = unsafe curl_multi_wakeup(UnsafeMutableRawPointer(multi)) }
    }

    func take() -> (commands: [Command], isClosed: Bool) {
        state.withLock { state in
            defer { state.commands = [] }
            return (state.commands, state.isClosed)
        }
    }

    func end() { state.withLock { $0.hasEnded = true } }
}

/// An easy handle, and the list of header lines that it uses now. Freed by the loop, which owns them all.
@safe struct EasyHandle {
    let pointer: UnsafeMutableRawPointer
    var headers: UnsafeMutablePointer<curl_slist>?

    init?() {
        guard let pointer = unsafe curl_easy_init() else { return nil }
        unsafe self.pointer = pointer
        unsafe headers = nil
    }
}

/// The engine's thread: every libcurl handle is its own.
@safe private struct CurlLoop: ~Copyable {
    private struct Live {
        let transfer: CurlTransfer
        let handle: EasyHandle
    }
    /// Handles kept for reuse: making one costs more than resetting it.
    private static let idleHandlesMax = 32
    /// Connections in all; more transfers wait for one of them to end.
    private static let connectionsMax = 1024
    /// Connections kept open for later requests.
    private static let idleConnectionsMax = 128

    private let commands: CurlCommands
    private let multi: UnsafeMutableRawPointer
    private var live: [ObjectIdentifier: Live] = [:]
    private var idleHandles: [EasyHandle] = []

    init(_ commands: CurlCommands) {
        guard let pointer = unsafe commands.multi else {
            preconditionFailure("libcurl makes a multi handle unless memory is exhausted")
        }
        self.commands = commands
        unsafe multi = UnsafeMutableRawPointer(pointer)
        unsafe edge_curl_multi_set_long(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, Self.connectionsMax)
        unsafe edge_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, Self.idleConnectionsMax)
    }

    mutating func run() {
        while true {
            let (wanted, isClosed) = commands.take()
            for command in wanted { obey(command) }
            if isClosed { break }
            var running: Int32 = 0
            // SAFETY: the multi handle is live until `shutDown`; callbacks reach transfers that `live`
            // holds.
            unsafe curl_multi_perform(multi, &running)
            finishDone()
            // libcurl's own timers end the wait as well; ten seconds is for those it would forget.
            unsafe curl_multi_poll(multi, nil, 0, 10_000, nil)
        }
        shutDown()
    }

    private mutating func obey(_ command: CurlCommands.Command) {
        switch command {
        case .start(let transfer): start(transfer)
        case .update(let transfer):
            guard let entry = live[ObjectIdentifier(transfer)] else { return }
            let paused = transfer.paused
            let mask = (paused.receiving ? CURLPAUSE_RECV : 0) | (paused.sending ? CURLPAUSE_SEND : 0)
            unsafe curl_easy_pause(entry.handle.pointer, mask)
        case .cancel(let transfer): end(transfer, .cancelled)
        }
    }

    private mutating func start(_ transfer: CurlTransfer) {
        guard var handle = idleHandles.popLast() ?? EasyHandle() else {
            return transfer.end(.failed(code: Int32(CURLE_OUT_OF_MEMORY.rawValue), "no handle"))
        }
        unsafe handle.headers = CurlOptions.apply(transfer, to: handle.pointer)
        live[ObjectIdentifier(transfer)] = Live(transfer: transfer, handle: handle)
        let code = unsafe curl_multi_add_handle(multi, handle.pointer)
        if code != CURLM_OK { end(transfer, .failed(code: code.rawValue, "curl_multi_add_handle")) }
    }

    private mutating func finishDone() {
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(multi, &left) {
            guard unsafe message.pointee.msg == CURLMSG_DONE,
                let handle = unsafe message.pointee.easy_handle,
                let context = unsafe edge_curl_context(handle)
            else { continue }
            let code = unsafe message.pointee.data.result
            // SAFETY: the context is the transfer, which `live` holds until `end`.
            let transfer = unsafe Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
            end(transfer, code == CURLE_OK ? nil : CurlOptions.error(code))
        }
    }

    private mutating func end(_ transfer: CurlTransfer, _ error: CurlError?) {
        guard var handle = live.removeValue(forKey: ObjectIdentifier(transfer))?.handle else {
            return transfer.end(error)
        }
        unsafe curl_multi_remove_handle(multi, handle.pointer)
        unsafe curl_slist_free_all(handle.headers)
        unsafe handle.headers = nil
        if idleHandles.count < Self.idleHandlesMax {
            unsafe curl_easy_reset(handle.pointer)
            idleHandles.append(handle)
        } else {
            unsafe curl_easy_cleanup(handle.pointer)
        }
        transfer.end(error)
    }

    private mutating func shutDown() {
        for transfer in live.values.map(\.transfer) { end(transfer, .closed) }
        for handle in idleHandles { unsafe curl_easy_cleanup(handle.pointer) }
        commands.end()
        unsafe curl_multi_cleanup(multi)
        for case .start(let transfer) in commands.take().commands { transfer.end(.closed) }
    }
}
