internal import Workers

/// Runs `work`, which computes for long, away from the isolate's event loop.
func offLoop<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
    do {
        return try await Blocking.run(work)
    } catch {
        preconditionFailure("Blocking.run throws what its work throws, and this work throws nothing")
    }
}
