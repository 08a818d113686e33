internal import Interfaces
internal import Workers

/// One object from its opening to its end in this isolate: its instance, its storage, its WebSockets.
///
/// It ends when the node closes it, when it is reset (a failure of its gates or its storage, `abort`), or with the isolate. A reset is
/// told to the node in the same breath, so that nobody waits for what will never be said.
final class Incarnation: ObjectInstance {
    let scope: ObjectScope
    let sockets: ObjectSockets
    private let type: any DurableObject.Type
    private let description: IsolateConfiguration.ObjectClass
    private var reference: ObjectReference
    private let environment: ObjectEnvironment
    private let onEnd: (Incarnation) -> Void
    private var state: DurableObjectState?
    private var object: (any DurableObject)?
    private(set) var methods = RPCTable()
    private(set) var isConstructed = false
    private var isOver = false
    /// Its handler runs.
    private var runningAlarm: ObjectAlarmMessage?

    init(
        _ type: any DurableObject.Type, _ description: IsolateConfiguration.ObjectClass, _ reference: ObjectReference,
        _ scope: ObjectScope, _ environment: ObjectEnvironment, onEnd: @escaping (Incarnation) -> Void
    ) {
        self.type = type
        self.description = description
        self.reference = reference
        self.scope = scope
        self.environment = environment
        self.onEnd = onEnd
        sockets = ObjectSockets(scope, reference)
    }

    // MARK: The beginning

    func construct() throws -> ObjectOpenReply {
        scope.wasReset = { [weak self] failure in self?.ended(failure) }
        let turns = ObjectLoopTurns(scope, environment, reference)
        let storage = try ObjectStorage(
            path: try environment.path(of: scope.name, in: description.directory), isSQL: description.hasSQL,
            databases: environment.databases, past: .init(retention: .seconds(Int64(description.historySeconds))),
            turns: turns)
        let stored = try storage.name
        let name = stored ?? reference.name
        reference.name = name
        let id = DurableObjectID(bytes: reference.id, name: name)
        let state = DurableObjectState(id: id, storage: storage, scope: scope, sockets: sockets)
        state.onAbort = { [weak self] failure, retries in self?.abort(failure, retriesAlarm: retries) }
        self.state = state
        if let name { try storage.keepName(name) }
        storage.alarms.hasHandler = type is any DurableObjectAlarmHandler.Type
        let object: any DurableObject = try type.init(state: state, env: scope.env)
        // One that has aborted or broken its storage in `init` is no object.
        if let failure = scope.failure { throw failure }
        self.object = object
        if let target = object as? any RPCTarget { methods = Self.table(target) }
        isConstructed = true
        return ObjectOpenReply(alarmTime: try storage.alarms.time(), name: name)
    }

    private static func table<Target: RPCTarget>(_ target: Target) -> RPCTable { RPCTable(target) }

    // MARK: Events

    func noteName(_ name: String?) {
        guard let name, reference.name == nil, let state else { return }
        reference.name = name
        state.id = DurableObjectID(bytes: reference.id, name: name)
        // A storage that fails has reset the object, and with it this event.
        try? state.storage.keepName(name)
    }

    func fetch(_ request: Request) async throws -> Response {
        guard let handler = object as? any DurableObjectFetchHandler else {
            throw CallFailure("Handler does not export a fetch() function.", name: "TypeError")
        }
        return try await handler.fetch(request)
    }

    var socketEventTimeout: Int? { sockets.eventTimeout }

    func socket(_ message: ObjectSocketMessage, payload: [UInt8]?) async throws {
        guard let socket = sockets.socket(message.socket) else { return }
        let handler = object as? any DurableObjectWebSocketHandler
        switch message.content {
        case .text(let text):
            let text = text ?? String(decoding: payload ?? [], as: UTF8.self)
            try await handler?.webSocketMessage(socket.webSocket, .text(text))
        case .binary(let bytes): try await handler?.webSocketMessage(socket.webSocket, .binary(bytes ?? payload ?? []))
        case .close(let close):
            socket.disconnected()
            defer { sockets.remove(message.socket) }
            try await handler?.webSocketClose(socket.webSocket, WebSocketClose(of: close))
        case .error(let text):
            socket.disconnected()
            defer { sockets.remove(message.socket) }
            try await handler?.webSocketError(socket.webSocket, CallFailure(text))
        }
    }

    func alarm(_ message: ObjectAlarmMessage) async throws -> ObjectAlarmReply {
        guard let state else { throw ObjectFailures.connectionLost }
        let alarms = state.storage.alarms
        guard let time = try alarms.time(), time <= scope.now || message.isRetry else {
            return ObjectAlarmReply(.notDue, nextTime: try alarms.nextWake())
        }
        guard let handler = object as? any DurableObjectAlarmHandler else {
            try alarms.delete()
            return ObjectAlarmReply(.abandoned, failure: "the class has no alarm() handler")
        }
        // An alarm that was set anew since counts its own tries.
        let retryCount = time == message.scheduledTime ? Int(message.retryCount) : 0
        let info = AlarmInfo(
            retryCount: retryCount, isRetry: time == message.scheduledTime && message.isRetry, scheduledTime: time)
        runningAlarm = message
        alarms.handlerBegins()
        do {
            try await handler.alarm(info)
            runningAlarm = nil
            if let failure = scope.failure { throw failure }
        } catch {
            runningAlarm = nil
            if scope.failure != nil { throw error }
            let failure = CallFailure(thrown: error)
            let next = try alarms.handlerFailed(isLast: retryCount >= Self.retriesMax)
            let outcome: ObjectAlarmReply.Outcome = next == nil ? .abandoned : .failed
            return ObjectAlarmReply(outcome, nextTime: next, failure: failure.description)
        }
        // What the handler has written is durable before the alarm is gone: a crash in between runs it again.
        try await state.storage.sync()
        return ObjectAlarmReply(.done, nextTime: try alarms.handlerSucceeded())
    }

    private static let retriesMax = 6

    // MARK: The end

    private func abort(_ failure: CallFailure, retriesAlarm: Bool) {
        guard !isOver else { return }
        if runningAlarm != nil, !retriesAlarm { state?.storage.abandonAlarm(failure) }
        scope.reset(failure)
    }

    /// The scope is being reset.
    private func ended(_ failure: CallFailure) {
        let wasThere = isConstructed
        end(failure)
        // Until it is there, the answer to its opening says the same.
        guard wasThere else { return }
        scope.sayNow(.objectAbort, channel: 0, ObjectAbortMessage(object: reference, failure: failure).bytes)
    }

    /// It never came to be: the answer to its opening says so.
    func forget(_ failure: CallFailure) {
        scope.wasReset = nil
        end(failure)
        scope.reset(failure)
    }

    private func end(_ failure: CallFailure) {
        guard !isOver else { return }
        isOver = true
        state?.storage.close(DurableObjectError(failure.message, isObjectReset: true))
        sockets.forget()
        object = nil
        methods = RPCTable()
        onEnd(self)
    }

    func close(_ message: ObjectCloseMessage) async -> ObjectCloseReply {
        switch message.reason {
        case .hibernation, .inactivity:
            guard scope.isIdle, state?.storage.isQuiet != false else { return ObjectCloseReply(isBusy: true) }
            finish(ObjectFailures.connectionLost)
        case .codeUpdated, .requested:
            let failure = message.reason == .codeUpdated ? ObjectFailures.codeUpdated : ObjectFailures.closed
            scope.closeSockets()
            await untilIdle(upTo: .milliseconds(message.patience))
            if scope.isIdle { await state?.storage.untilQuiet() }
            finish(failure)
        }
        return ObjectCloseReply(isBusy: false)
    }

    private func untilIdle(upTo patience: Duration) async {
        await withCheckedContinuation { continuation in
            var waiting: CheckedContinuation<Void, Never>? = continuation
            let deadline = scope.schedule(after: patience) {
                waiting?.resume()
                waiting = nil
            }
            scope.whenIdle {
                deadline.cancel()
                waiting?.resume()
                waiting = nil
            }
        }
    }

    /// The node knows that it ends: what still runs gets the reason.
    private func finish(_ failure: CallFailure) {
        scope.wasReset = nil
        end(failure)
        scope.reset(failure)
    }
}
