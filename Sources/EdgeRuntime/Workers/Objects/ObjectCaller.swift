package import Interfaces
internal import Wire

/// The calls of stubs, for the room DurableObjects.
package struct ObjectCaller: Sendable {
    private let scope: EventScope
    private let binding: UInt16
    /// The namespace's key, 32 bytes.
    package let key: [UInt8]

    fileprivate init(_ scope: EventScope, _ binding: UInt16, _ key: [UInt8]) {
        self.scope = scope
        self.binding = binding
        self.key = key
    }

    package func fetch(_ object: ObjectReference, _ request: Request) async throws -> Response {
        try await scope.invocation.subrequest(request, redirect: .manual, binding: binding, object: head(object))
    }

    package func invoke<Arguments, Result>(
        _ object: ObjectReference, _ method: RPCMethod<Arguments, Result>, _ arguments: Arguments, body: ByteStream?
    ) async throws -> RPCReply<Result> {
        try await scope.invocation.invoke(method, arguments, body: body, .objectInvoke, binding: binding, head: head(object))
    }

    private func head(_ object: ObjectReference) -> [UInt8] {
        var encoder = WireEncoder()
        ObjectCallHead(object: object).encode(into: &encoder)
        return encoder.bytes
    }
}

extension Env {
    package func objectCaller(_ name: String) throws -> ObjectCaller {
        let number = try binding(name, .durableObject, allowedAtStart: true)
        return ObjectCaller(scope, number, invocation.isolate.configuration.bindings[Int(number)].key)
    }
}
