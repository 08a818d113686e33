// Landlock as of ABI 7, with our own constants: Debian 12's headers know ABI 2, the running kernel may know more.
// https://docs.kernel.org/userspace-api/landlock.html
#pragma once
#include <stdint.h>

// The ABI version of the running kernel; 0 when Landlock is missing or switched off.
int edge_landlock_abi(void);
// A ruleset that refuses every file access, TCP bind and connect, abstract socket and signal that `abi` can refuse.
int edge_landlock_create(int abi);

enum {
    EDGE_LANDLOCK_EXECUTE = 1 << 0,
    EDGE_LANDLOCK_WRITE_FILE = 1 << 1,
    EDGE_LANDLOCK_READ_FILE = 1 << 2,
    EDGE_LANDLOCK_READ_DIR = 1 << 3,
    EDGE_LANDLOCK_REMOVE_FILE = 1 << 5,
    EDGE_LANDLOCK_MAKE_DIR = 1 << 7,
    EDGE_LANDLOCK_MAKE_REG = 1 << 8,
    EDGE_LANDLOCK_TRUNCATE = 1 << 14,  // as of ABI 3
};
// Allows `access` on the file or below the directory that `path` (O_PATH) stands for.
int edge_landlock_allow(int ruleset, int path, uint64_t access);
