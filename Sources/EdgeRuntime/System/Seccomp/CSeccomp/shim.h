// libseccomp's actions and its error number are macros with casts, which Swift does not import.
#pragma once
#include <linux/filter.h>
#include <seccomp.h>

static const uint32_t EDGE_SECCOMP_ALLOW = SCMP_ACT_ALLOW, EDGE_SECCOMP_KILL_PROCESS = SCMP_ACT_KILL_PROCESS;
static inline uint32_t edge_seccomp_errno(uint16_t number) { return SCMP_ACT_ERRNO(number); }
