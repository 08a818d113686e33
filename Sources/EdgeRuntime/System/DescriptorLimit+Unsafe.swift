internal import Glibc

/// How many descriptors the process may have.
package enum DescriptorLimit {
    /// Raises the limit as far as the system lets it: the usual soft limit of 1,024 is for programs that use `select`.
    ///
    /// - Returns: the limit from now on.
    package static func raise() -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        // SAFETY: both calls use the struct they are lent, and only during the call.
        guard unsafe getrlimit(resource, &limit) == 0 else { return 1024 }
        let before = limit.rlim_cur
        limit.rlim_cur = limit.rlim_max
        let isRaised = unsafe setrlimit(resource, &limit) == 0
        return Int(clamping: isRaised ? limit.rlim_cur : before)
    }
}
