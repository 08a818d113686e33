package import Workers

/// Runs `work` for at most `limit` on the isolate's timers.
///
/// - Returns: `nil` when the time was up; `work` was cancelled then.
package func withTimeLimit<Value: Sendable>(
    _ limit: Duration, _ context: ExecutionContext, _ work: @escaping @Sendable () async throws -> Value
) async throws -> Value? {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await context.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
    }
}
