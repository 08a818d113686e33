package import SQLite

/// The operations that a test can make fail, and what it makes them fail with.
package struct D1Faults: Sendable {
    package enum Operation: Sendable { case open, begin, commit, checkpoint }

    /// Asked before each operation; the error stands for the operation's own.
    package let failure: @Sendable (Operation) -> SQLiteError?

    package init(_ failure: @escaping @Sendable (Operation) -> SQLiteError?) { self.failure = failure }

    /// Nothing fails that doesn't fail by itself.
    package static let none = D1Faults { _ in nil }
}
