// Landlock as of ABI 7, with our own constants: Debian 12's headers know ABI 2, the running kernel may know more.
// https://docs.kernel.org/userspace-api/landlock.html
#pragma once
#include <stdint.h>

// The ABI version of the running kernel; 0 when Landlock is missing or switched off.
int edge_landlock_abi(void);
// A ruleset that refuses every file access, TCP bind and connect, abstract socket and signal that `abi` can refuse.
int edge_landlock_create(int abi);

enum { EDGE_LANDLOCK_EXECUTE = 1 << 0, EDGE_LANDLOCK_READ_FILE = 1 << 2 };
// Allows `access` on the file or below the directory that `path` (O_PATH) stands for.
int edge_landlock_allow(int ruleset, int path, uint64_t access);
