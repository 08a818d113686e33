internal import CSeccomp
internal import Glibc

/// A filter ready for the kernel: the bytes of an array of `struct sock_filter`.
///
/// libseccomp 2.5's contexts belong to one thread at a time (its manual pages promise no more); each
/// lives only inside `init` here, so filters can be compiled on any thread.
package struct SyscallFilter: Sendable {
    /// Eight bytes per instruction, in the machine's byte order, at most 4096 instructions.
    package let program: [UInt8]
    package var instructionCount: Int { program.count / Self.instructionByteCount }

    package static let instructionByteCount = 8

    /// Compiles `rules`. Calls that no rule matches get `otherwise`; calls that this libseccomp has
    /// never heard of fail as on a kernel that lacks them (ENOSYS), because newer C libraries try them
    /// and know what to do then. Calls by the number of another architecture (32-bit, x32) end the
    /// process.
    ///
    /// - Note: A rule for a call that this architecture lacks is left out.
    package init(_ rules: [SyscallRule], otherwise: SyscallAction) throws(FilterError) {
        // SAFETY: the context is released on each way out and used by nobody else; libseccomp checks its
        // arguments.
        guard let context = unsafe seccomp_init(Self.code(otherwise)) else { throw .outOfMemory }
        defer { unsafe seccomp_release(context) }
        unsafe seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, EDGE_SECCOMP_KILL_PROCESS)
        unsafe seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2)  // A binary tree, not a list.
        for rule in rules {
            guard let number = Self.number(of: rule.name) else { continue }
            let result = unsafe Self.add(rule, number, to: context)
            guard result == 0 else { throw .ruleRefused(rule.name, errno: -result) }
        }
        for number in Self.unknownNumbers() {
            let result = unsafe seccomp_rule_add_array(
                context, edge_seccomp_errno(UInt16(ENOSYS)), number, 0, nil)
            guard result == 0 || result == -EACCES else { throw .ruleRefused("\(number)", errno: -result) }
        }
        program = try unsafe Self.export(context)
    }

    /// Whether this architecture has the call, as far as libseccomp knows.
    package static func knows(_ name: String) -> Bool { number(of: name) != nil }

    private static func number(of name: String) -> Int32? {
        // SAFETY: the C string lives for the call.
        let number = unsafe seccomp_syscall_resolve_name(name)
        return number >= 0 ? number : nil
    }

    /// Numbers above the ones every architecture has in common, up to where the kernel will not be for
    /// years.
    private static func unknownNumbers() -> [Int32] {
        (424...600).filter { number in
            // SAFETY: the name returned is allocated for us, and freed here.
            guard let name = unsafe seccomp_syscall_resolve_num_arch(seccomp_arch_native(), number) else {
                return true
            }
            unsafe free(name)
            return false
        }
    }

    private static func code(_ action: SyscallAction) -> UInt32 {
        switch action {
        case .allow: EDGE_SECCOMP_ALLOW
        case .refuse(let errno): edge_seccomp_errno(UInt16(truncatingIfNeeded: errno))
        case .killProcess: EDGE_SECCOMP_KILL_PROCESS
        }
    }

    private static func add(
        _ rule: SyscallRule, _ number: Int32, to context: UnsafeMutableRawPointer
    ) -> Int32 {
        let comparisons = rule.conditions.map { condition in
            condition.mask == .max
                ? scmp_arg_cmp(
                    arg: UInt32(condition.index), op: SCMP_CMP_EQ, datum_a: condition.value, datum_b: 0)
                : scmp_arg_cmp(
                    arg: UInt32(condition.index), op: SCMP_CMP_MASKED_EQ, datum_a: condition.mask,
                    datum_b: condition.value)
        }
        // SAFETY: the array is lent with its own count.
        return unsafe comparisons.withUnsafeBufferPointer { buffer in
            unsafe seccomp_rule_add_array(
                context, code(rule.action), number, UInt32(buffer.count), buffer.baseAddress)
        }
    }

    /// libseccomp writes the program to a descriptor. A pipe holds 64 KiB, the largest program has 32.
    private static func export(_ context: UnsafeMutableRawPointer) throws(FilterError) -> [UInt8] {
        var ends: [Int32] = [-1, -1]
        // SAFETY: pipe fills two integers.
        guard unsafe pipe(&ends) == 0 else { throw .exportFailed(errno: errno) }
        defer { close(ends[0]) }
        let result = unsafe seccomp_export_bpf(context, ends[1])
        close(ends[1])
        guard result == 0 else { throw .exportFailed(errno: -result) }
        var program: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            // SAFETY: read fills at most the array it is lent.
            let count = unsafe read(ends[0], &chunk, chunk.count)
            guard count >= 0 else { throw .exportFailed(errno: errno) }
            guard count > 0 else { break }
            program += chunk[..<count]
        }
        guard !program.isEmpty, program.count % instructionByteCount == 0 else {
            throw .exportFailed(errno: EIO)
        }
        return program
    }
}

package enum FilterError: Error, Equatable, Sendable, CustomStringConvertible {
    case outOfMemory
    case ruleRefused(String, errno: Int32)
    case exportFailed(errno: Int32)

    package var description: String {
        switch self {
        case .outOfMemory: "libseccomp has no memory for a filter"
        case .ruleRefused(let name, let errno): "libseccomp refuses the rule for \(name) (errno \(errno))"
        case .exportFailed(let errno): "libseccomp cannot write the filter's program (errno \(errno))"
        }
    }
}
