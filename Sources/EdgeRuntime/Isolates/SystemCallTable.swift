internal import CLinux
internal import Glibc
internal import Seccomp

/// Every system call that an isolate may make, each with its reason, and those that end it. What is in
/// neither list fails with EPERM. The list was made by tracing a worker (static Swift runtime, Dispatch,
/// FoundationEssentials, OpenSSL) and asking of each call what it could do to somebody else.
enum SystemCallTable {
    struct Entry {
        let names: [String]
        /// Each inner list is an alternative; none: any arguments.
        let when: [[ArgumentCondition]]
        let reason: String

        init(_ names: String..., when alternatives: [[ArgumentCondition]] = [], because reason: String) {
            self.names = names
            self.when = alternatives
            self.reason = reason
        }
    }

    /// Stands for the isolate's own process id until the child writes that in (spawn.c). No real id is
    /// as large: the kernel stops at 2²².
    static let ownProcessPlaceholder: UInt32 = 0x7ed6_e001

    static let allowed: [Entry] = memory + threads + signals + time + channels + files + lookups + start

    /// What isolates with files of their own have beside that.
    static let allowedWithFiles: [Entry] = [
        Entry(
            "openat", when: [[.argument(2, masked: Bits.pathOnly, is: 0)]],
            because: "its database files, for writing; which paths is Landlock's decision"),
        Entry("open", when: [[.argument(1, masked: Bits.pathOnly, is: 0)]], because: "as openat, by older code on x86-64"),
        Entry("pwrite64", "pwritev", "preadv", "ftruncate", "fallocate", because: "writes pages and logs, cuts logs off"),
        Entry("fdatasync", "fsync", because: "what is acknowledged is on the disk"),
        Entry(
            "fcntl",
            when: [F_GETLK, F_SETLK, F_SETLKW, 36, 37].map { [.argument(1, is: UInt64($0))] },  // F_OFD_GETLK, F_OFD_SETLK
            because: "locks on database files: a second isolate that opens one finds out"),
        Entry("flock", because: "as above, for a whole file"),
        Entry("unlink", "unlinkat", because: "removes journals, old pieces of an archive, and files of `deleteAll`"),
        Entry("rename", "renameat", "renameat2", because: "replaces files as a whole, below the directories it may write"),
        Entry("mkdir", "mkdirat", because: "the folder of an id's first digits"),
        Entry(
            "stat", "lstat", "newfstatat", "access", "faccessat", "readlink", "readlinkat", "getcwd", "getdents64",
            because:
                "SQLite asks whether a journal is there, and where a name leads. It says that a path exists, where the user may go"
        ),
    ]

    static let memory = [
        Entry(
            "brk", "munmap", "mremap", "madvise",
            because: "malloc; what it may take is bounded by RLIMIT_DATA, RLIMIT_AS and the watchdog"),
        Entry(
            "mmap",
            when: [
                // Private memory and files, never executable.
                [.argument(2, masked: Bits.execute, is: 0), .argument(3, masked: Bits.shared, is: 0)],
                // Shared mappings of a descriptor (the status page). Shared anonymous memory would
                // escape RLIMIT_DATA.
                [
                    .argument(2, masked: Bits.execute, is: 0),
                    .argument(3, masked: Bits.shared | Bits.anonymous, is: Bits.shared),
                ],
                // Code comes from files that can't be written, and is not writable itself.
                [
                    .argument(2, masked: Bits.execute | Bits.write, is: Bits.execute),
                    .argument(3, masked: Bits.shared | Bits.anonymous, is: 0),
                ],
            ], because: "malloc, the loader's segments, thread stacks, the status page"),
        Entry(
            "mprotect", when: [[.argument(2, masked: Bits.execute, is: 0)]],
            because: "the loader's read-only data, stack guards, malloc's heaps"),
        Entry("membarrier", "rseq", because: "per-processor data of the C library and lock-free runtimes"),
    ]

    static let threads = [
        Entry(
            "clone",
            when: [[.argument(0, masked: ~Bits.threadOptional, is: Bits.threadRequired)]],
            because: "pthread_create and nothing else: a new process or namespace has other flags"),
        Entry("set_robust_list", "set_tid_address", because: "the C library's start of a thread"),
        Entry("futex", "futex_waitv", because: "locks and waiting of every kind"),
        Entry(
            "sched_yield", "sched_getaffinity", "getcpu", because: "spinning locks, the number of processors"),
        Entry(
            "gettid", "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid",
            because: "own numbers: locks, logs, AT_SECURE checks"),
        Entry("exit", "exit_group", because: "ends a thread, ends the isolate"),
        Entry(
            "prctl",
            when: [[.argument(0, is: UInt64(PR_SET_NAME))], [.argument(0, is: UInt64(PR_GET_NAME))]],
            because: "names of threads. Not PR_SET_PDEATHSIG: an isolate must not outlive its node"),
    ]

    static let signals = [
        Entry(
            "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "sigaltstack",
            because: "handlers of its own crashes, signal masks of threads"),
        Entry("restart_syscall", because: "the kernel's own continuation of an interrupted wait"),
        Entry(
            "tgkill", when: [[.argument(0, is: UInt64(ownProcessPlaceholder))]],
            because: "raise() and abort(): signals to itself alone"),
    ]

    static let time = [
        Entry(
            "clock_gettime", "clock_getres", "gettimeofday", "time",
            because: "time, where the vDSO can't tell it"),
        Entry("clock_nanosleep", "nanosleep", because: "sleeping"),
        Entry(
            "timerfd_create", "timerfd_settime", "timerfd_gettime",
            because: "timers of the isolate's loop and of Dispatch"),
        Entry("getrusage", "times", because: "its own CPU time, which the SDK reports"),
    ]

    static let channels = [
        Entry(
            "read", "readv", "write", "writev", "close", "shutdown",
            because: "the channels, standard error, its own descriptors"),
        Entry(
            "sendto", when: [[.argument(3, is: 0x4000), .argument(4, is: 0)]],
            because: "send() on a channel with MSG_NOSIGNAL, without an address; no out-of-band data, where kernels had holes"),
        Entry(
            "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
            because: "the isolate's loop"),
        Entry("eventfd2", because: "waking the loop from a helper thread, Dispatch"),
        Entry(
            "fcntl",
            when: [F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC].map {
                [.argument(1, is: UInt64($0))]
            },
            because: "flags of its descriptors"),
        Entry(
            "ioctl", when: [[.argument(1, is: 0x5421)], [.argument(1, is: 0x541B)]],
            because: "FIONBIO and FIONREAD on a channel"),
    ]

    static let files = [
        Entry(
            "openat", when: [[.argument(2, masked: Bits.openForbidden, is: 0)]],
            because:
                "shared libraries and its own /proc entries, for reading; which paths is Landlock's decision"),
        Entry(
            "open", when: [[.argument(1, masked: Bits.openForbidden, is: 0)]],
            because: "as openat, by older code on x86-64"),
        Entry("fstat", because: "the loader, stdio"),
        Entry(
            "newfstatat", when: [[.argument(3, masked: Bits.emptyPath, is: Bits.emptyPath)]],
            because: "fstat() as glibc 2.33 and later do it; the flag does not stop a path from being there"),
        Entry("pread64", "lseek", because: "the loader reads headers of libraries"),
    ]

    static let lookups = [
        Entry("getrandom", because: "random numbers"),
        Entry("uname", "sysinfo", because: "names and sizes of the machine, read by the C library"),
        Entry(
            "prlimit64", when: [[.argument(0, is: 0), .argument(2, is: 0)]],
            because: "reads its own limits (the size of a thread's stack); sets none"),
    ]

    static let start = [
        Entry(
            "arch_prctl", when: [[.argument(0, is: 0x1002)]],
            because: "ARCH_SET_FS: the C library's thread pointer")
    ]

    /// - Parameter executable: The executable's number, which is also the limit of open descriptors.
    private static func execution(of executable: Int) -> Entry {
        Entry(
            "execveat", when: [[.argument(0, is: UInt64(executable)), .argument(4, is: 0x1000)]],
            because: "starts the isolate's executable, once: its descriptor closes, and the number never comes back")
    }

    /// Newer forms of calls whose arguments a filter can't read, or which a C library only tries: it
    /// falls back to the older ones when the kernel seems to lack them.
    static let missing = ["clone3", "openat2", "faccessat2", "statx", "close_range"]

    /// No library calls these by accident. Whoever does is attacking, and ends at once, in sight of the
    /// log.
    static let hostile = [
        // Other processes' memory and state.
        "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd",
        "pidfd_send_signal",
        "pidfd_open", "kcmp", "migrate_pages", "move_pages",
        // Kernel interfaces with a long history of privilege escalations.
        "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
        "add_key", "request_key", "keyctl", "fanotify_init", "open_by_handle_at", "name_to_handle_at",
        // Namespaces, mounts, roots.
        "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen",
        "fsconfig", "fsmount", "fspick", "mount_setattr",
        // Machine administration.
        "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon",
        "swapoff", "iopl", "ioperm", "acct", "quotactl", "syslog", "settimeofday", "clock_settime",
        "clock_adjtime", "sethostname", "setdomainname",
        // Identity.
        "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
        "setgroups", "capset",
    ]

    /// For isolates that can write nowhere.
    static var rules: [SyscallRule] { rules(executable: Int(EDGE_SPAWN_EXECUTABLE), files: false) }

    /// - Parameters:
    ///   - executable: The number that the executable has when it is started.
    ///   - files: Whether the isolate has files of its own.
    static func rules(executable: Int, files: Bool) -> [SyscallRule] {
        let own = files ? allowedWithFiles : []
        // A call without conditions replaces those that it had.
        let free = Set(own.filter { $0.when.isEmpty }.flatMap(\.names))
        let common = allowed.filter { entry in !entry.names.contains { free.contains($0) } }
        return (common + own + [execution(of: executable)]).flatMap { entry in
            entry.names.flatMap { name in
                entry.when.isEmpty
                    ? [SyscallRule(name, .allow)] : entry.when.map { SyscallRule(name, when: $0, .allow) }
            }
        }
            + missing.map { SyscallRule($0, .refuse(errno: ENOSYS)) }
            + hostile.map { SyscallRule($0, .killProcess) }
    }

    private enum Bits {
        static let write: UInt64 = 2  // PROT_WRITE
        static let execute: UInt64 = 4  // PROT_EXEC
        static let shared: UInt64 = 1  // MAP_SHARED, MAP_SHARED_VALIDATE
        static let anonymous: UInt64 = 0x20  // MAP_ANONYMOUS
        static let emptyPath: UInt64 = 0x1000  // AT_EMPTY_PATH
        static let pathOnly: UInt64 = 0x20_0000  // O_PATH
        /// Writing, creating, truncating, and O_PATH, which Landlock doesn't look at.
        static let openForbidden = UInt64(O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND) | 0x20_0000
        /// CLONE_VM, CLONE_SIGHAND, CLONE_THREAD.
        static let threadRequired: UInt64 = 0x100 | 0x800 | 0x10000
        /// The other flags of pthread_create: CLONE_FS, FILES, SYSVSEM, SETTLS, PARENT_SETTID,
        /// CHILD_CLEARTID.
        static let threadOptional: UInt64 = 0x200 | 0x400 | 0x40000 | 0x80000 | 0x10_0000 | 0x20_0000
    }
}
