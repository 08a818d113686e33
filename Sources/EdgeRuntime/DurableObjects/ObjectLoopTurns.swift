internal import Interfaces
internal import Workers

/// What storage needs of the loop, for one object.
final class ObjectLoopTurns: ObjectTurns {
    private let scope: ObjectScope
    private let environment: ObjectEnvironment
    private let object: ObjectReference

    init(_ scope: ObjectScope, _ environment: ObjectEnvironment, _ object: ObjectReference) {
        self.scope = scope
        self.environment = environment
        self.object = object
    }

    func atEndOfTurn(_ body: @escaping () -> Void) { scope.atEndOfTurn(body) }
    var now: Int64 { scope.now }

    func makeDurable(_ descriptor: Int32, folder: String?, _ completion: @escaping ((any Error)?) -> Void) {
        environment.durability.sync(descriptor, folder: folder, on: scope, completion)
    }

    func reset(_ error: DurableObjectError) { scope.reset(error.callFailure) }

    func holdOutput(until commit: UInt64) { scope.output.require(commit) }
    func commitIsDurable(_ commit: UInt64) { scope.output.reached(commit) }

    func locked(_ start: (@escaping ((any Error)?) -> Void) -> Void) async throws { try await scope.locked(start) }
    func criticalSection(_ body: @escaping () async throws -> Void) async throws {
        try await scope.section(limit: nil, body)
    }

    func moveAlarm(to time: Int64?, _ completion: @escaping ((any Error)?) -> Void) {
        scope.ask(.objectAlarmTime, ObjectAlarmTimeMessage(object: object, time: time).bytes) { result in
            if case .failure(let error) = result { completion(error) } else { completion(nil) }
        }
    }

    func warn(_ text: String) { scope.warn(text) }

    func after(_ delay: Duration, _ body: @escaping () -> Void) -> () -> Void {
        let deadline = scope.schedule(after: delay, body)
        return { deadline.cancel() }
    }
}
