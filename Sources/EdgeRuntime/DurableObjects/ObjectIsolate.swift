package import Interfaces
internal import SQLite
package import Workers

/// The durable objects of one isolate: those that the node has opened here. The loop's thread alone.
package final class ObjectIsolate: ObjectHosting {
    private let types: [String: any DurableObject.Type]
    package let classes: [(name: String, hasAlarm: Bool)]
    private var configured: [String: IsolateConfiguration.ObjectClass] = [:]
    private var incarnations: [[UInt8]: Incarnation] = [:]
    private let environment = ObjectEnvironment()

    package init(_ types: [any DurableObject.Type]) {
        self.types = Dictionary(types.map { ($0.className, $0) }) { first, _ in first }
        classes = types.map { (name: $0.className, hasAlarm: $0 is any DurableObjectAlarmHandler.Type) }
    }

    package func configured(_ configuration: IsolateConfiguration) {
        configured = Dictionary(configuration.objectClasses.map { ($0.name, $0) }) { first, _ in first }
        // The directories' names begin at the working directory, `/proc/self/cwd`.
        _ = SQLiteProcess.leaveLinks()
        // Large statements and sorts need temporary files, and nowhere else can any be made.
        if let place = configuration.objectClasses.first { SQLiteProcess.setTemporaryDirectory(place.directory) }
    }

    package func prepare(_ message: ObjectOpenMessage, _ scope: ObjectScope) throws {
        let id = message.object.id
        if let incarnation = incarnations[id] {
            // One more piece of a list of sockets.
            guard !incarnation.isConstructed else { throw DurableObjectError("The Durable Object is here already.") }
            return incarnation.sockets.add(message)
        }
        guard let type = types[message.className], let description = configured[message.className] else {
            throw DurableObjectError("The version has no Durable Object class \"\(message.className)\".")
        }
        let incarnation = Incarnation(type, description, message.object, scope, environment) { [weak self] gone in
            guard let self, incarnations[id] === gone else { return }
            incarnations[id] = nil
        }
        incarnations[id] = incarnation
        incarnation.sockets.add(message)
    }

    package func construct(_ id: [UInt8]) throws -> ObjectOpenReply {
        guard let incarnation = incarnations[id] else { throw ObjectFailures.connectionLost }
        do { return try incarnation.construct() } catch {
            incarnation.forget(CallFailure(thrown: error))
            throw error
        }
    }

    package func scope(of id: [UInt8]) -> ObjectScope? { incarnations[id]?.scope }
    package func instance(_ id: [UInt8]) -> (any ObjectInstance)? {
        guard let incarnation = incarnations[id], incarnation.isConstructed else { return nil }
        return incarnation
    }

    package func checkForDeadlocks(_ ticks: UInt64, grace: UInt64) {
        for incarnation in incarnations.values { incarnation.scope.checkForDeadlock(ticks, grace: grace) }
    }

    package func close(_ message: ObjectCloseMessage) async -> ObjectCloseReply {
        guard let incarnation = incarnations[message.object.id] else { return ObjectCloseReply(isBusy: false) }
        return await incarnation.close(message)
    }
}
