internal import Glibc

/// A system call that the kernel refused.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call, e.g. `open`.
    package let call: String
    package let errno: Int32
    /// What it was applied to, e.g. a path.
    package let subject: String

    package init(_ call: String, errno: Int32, on subject: String = "") {
        self.call = call
        self.errno = errno
        self.subject = subject
    }

    package var description: String {
        // SAFETY: strerror returns a NUL-terminated string that lives at least until the next call here.
        let reason = unsafe strerror(errno).map { unsafe String(cString: $0) } ?? "error \(errno)"
        return subject.isEmpty ? "\(call): \(reason)" : "\(call) \(subject): \(reason)"
    }
}
