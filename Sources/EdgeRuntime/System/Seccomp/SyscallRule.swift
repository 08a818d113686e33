/// What the kernel does with a system call.
package enum SyscallAction: Hashable, Sendable {
    case allow
    /// The call fails with this `errno`; nothing is done.
    case refuse(errno: Int32)
    /// The whole process ends with SIGSYS.
    case killProcess
}

/// What one argument of a call must look like. Pointers can't be followed: only the register's value
/// counts.
package struct ArgumentCondition: Hashable, Sendable {
    /// 0...5.
    package let index: Int
    package let mask: UInt64
    package let value: UInt64

    private init(index: Int, mask: UInt64, value: UInt64) {
        self.index = index
        self.mask = mask
        self.value = value
    }

    /// The argument, all 64 bits of it, is `value`.
    package static func argument(_ index: Int, is value: UInt64) -> Self {
        Self(index: index, mask: .max, value: value)
    }

    /// The bits of `mask` in the argument are those of `value`.
    package static func argument(_ index: Int, masked mask: UInt64, is value: UInt64) -> Self {
        Self(index: index, mask: mask, value: value)
    }
}

/// One call, the arguments it applies to, and what becomes of it. Several rules of one call are
/// alternatives, and must share their action.
package struct SyscallRule: Hashable, Sendable {
    package let name: String
    /// All must hold; empty: any arguments.
    package let conditions: [ArgumentCondition]
    package let action: SyscallAction

    package init(_ name: String, when conditions: [ArgumentCondition] = [], _ action: SyscallAction) {
        self.name = name
        self.conditions = conditions
        self.action = action
    }
}
