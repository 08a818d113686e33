/// A helper thread for work that would hold up the isolate's loop: password hashes, key generation, large
/// compressions.
public enum Blocking {
    /// Runs `work` on a helper thread of the isolate; other events go on meanwhile. The work itself can't be cancelled.
    ///
    /// - Throws: what `work` throws.
    public static func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws
        -> Value
    {
        try await BlockingPool.run(work)
    }
}
