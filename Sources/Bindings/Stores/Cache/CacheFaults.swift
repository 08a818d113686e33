package import System

/// The steps that touch the disk, and what a test makes them fail with.
package struct CacheFaults: Sendable {
    package enum Operation: Sendable, CaseIterable {
        /// In the order in which a fill takes them; a small body has only the last two.
        case createBody, writeBody, publishBody, writeEntry, publishEntry
        case open, remove
    }

    /// Asked before each step; the error stands for the step's own. One that fails every step from some moment on leaves the
    /// disk as the death of the process would.
    package let failure: @Sendable (Operation) -> SystemError?

    package init(_ failure: @escaping @Sendable (Operation) -> SystemError?) { self.failure = failure }

    /// Nothing fails that doesn't fail by itself.
    package static let none = CacheFaults { _ in nil }

    func check(_ operation: Operation) throws(SystemError) {
        if let failure = failure(operation) { throw failure }
    }
}
