/// Runs `work`, which computes for long, away from the isolate's event loop.
func offLoop<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
    await Task.detached(operation: work).value
}
