package import System

/// The steps that touch the disk, in the order in which a put takes them.
package enum DiskOperation: String, CaseIterable, Sendable {
    case create
    case write
    case syncFile = "sync file"
    case rename
    /// A copy of a blob: a further name of its file.
    case link
    case syncDirectory = "sync directory"
    case commit
    case unlink
    /// Removing a temporary file after a failure, or at a sweep.
    case removeTemporary = "remove temporary"
}

/// Asked before each step: tests inject faults with it. One that fails every step from some moment on
/// leaves the disk as the death of the process would.
package struct DiskHook: Sendable {
    let before: @Sendable (DiskOperation, _ subject: String) -> SystemError?
    /// How many bytes of a write the disk takes at once: at least one.
    let writable: @Sendable (_ count: Int) -> Int

    /// - Parameters:
    ///   - writable: gets the size of a write and says how much of it is written: a short write.
    ///   - before: gets the step and the file's name; what it returns is what the step fails with.
    package init(
        writable: @escaping @Sendable (_ count: Int) -> Int = { $0 },
        _ before: @escaping @Sendable (DiskOperation, _ subject: String) -> SystemError?
    ) {
        self.before = before
        self.writable = writable
    }

    func callAsFunction(_ operation: DiskOperation, _ subject: String) throws(SystemError) {
        if let failure = before(operation, subject) { throw failure }
    }
}
