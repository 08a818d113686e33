#define _GNU_SOURCE
#include "CLinux.h"
#include <linux/landlock.h>
#include <sys/syscall.h>

struct ruleset_attributes {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

int edge_landlock_abi(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

int edge_landlock_create(int abi) {
    struct ruleset_attributes attributes = {.handled_access_fs = (1u << 13) - 1};  // EXECUTE … MAKE_SYM
    if (abi >= 2) attributes.handled_access_fs |= 1u << 13;                        // REFER
    if (abi >= 3) attributes.handled_access_fs |= 1u << 14;                        // TRUNCATE
    if (abi >= 5) attributes.handled_access_fs |= 1u << 15;                        // IOCTL_DEV
    if (abi >= 4) attributes.handled_access_net = 1u << 0 | 1u << 1;               // BIND_TCP, CONNECT_TCP
    if (abi >= 6) attributes.scoped = 1u << 0 | 1u << 1;                           // ABSTRACT_UNIX_SOCKET, SIGNAL
    // An older kernel accepts the longer struct as long as what it doesn't know is zero.
    return (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
}

int edge_landlock_allow(int ruleset, int path, uint64_t access) {
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = path};
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}
