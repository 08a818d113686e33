internal import Glibc

/// A file descriptor with one owner; closing twice does not compile.
package struct Descriptor: ~Copyable, Sendable {
    package let rawValue: Int32

    /// Takes over `rawValue`, which nobody else may close from now on.
    package init(owning rawValue: Int32) { self.rawValue = rawValue }

    package consuming func close() throws(SystemError) {
        let number = rawValue
        discard self  // From here on, deinit can't close a number that someone else may own by now.
        guard Glibc.close(number) == 0 else { throw SystemError("close", errno: errno, on: "fd \(number)") }
    }

    /// Gives the number away; the caller closes it.
    package consuming func release() -> Int32 {
        let number = rawValue
        discard self
        return number
    }

    deinit { _ = Glibc.close(rawValue) }  // For early exits only; the normal path calls close().
}
