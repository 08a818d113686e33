// Starts one isolate. Between clone and exec the child shares the node's memory, so nothing but raw system calls runs
// there, and it tells of a failure by writing into the plan.
#pragma once
#include <stdint.h>
#include <sys/types.h>

// The number that the executable has in the child until exec closes it, unless the plan names a larger one. It equals the child's
// limit of open descriptors: once that limit is set the number can never be given out again, and the filter lets execveat
// run on no other.
enum { EDGE_SPAWN_EXECUTABLE = 256, EDGE_SPAWN_PASSED_MAX = 200 };

enum edge_spawn_step {
    EDGE_SPAWN_NONE = 0,
    EDGE_SPAWN_CLONE,
    EDGE_SPAWN_SESSION,
    EDGE_SPAWN_DESCRIPTORS,
    EDGE_SPAWN_DIRECTORY,
    EDGE_SPAWN_RESOURCE_LIMITS,
    EDGE_SPAWN_IDENTITY,
    EDGE_SPAWN_PARENT_DEATH,
    EDGE_SPAWN_NO_NEW_PRIVILEGES,
    EDGE_SPAWN_LANDLOCK,
    EDGE_SPAWN_SIGNALS,
    EDGE_SPAWN_SECCOMP,
    EDGE_SPAWN_EXEC,
};

struct edge_spawn_limit {
    int32_t resource;
    uint64_t value;
};

struct edge_spawn_plan {
    int executable;                         // open, O_PATH is enough
    char *const *arguments;                 // ends with NULL; the environment is empty
    int executable_number;                  // EDGE_SPAWN_EXECUTABLE or more
    int directory;                          // open, O_PATH is enough: where the child runs; −1: in /
    int null_descriptor;                    // becomes 0 and 1
    int log_descriptor;                     // becomes 2
    const int *passed;                      // become 3, 4, …
    int passed_count;                       // at most EDGE_SPAWN_PASSED_MAX
    const struct edge_spawn_limit *limits;  // set in order, soft and hard
    int limit_count;
    int switch_identity;                    // 0: keep uid and gid
    uint32_t uid, gid;
    int landlock_ruleset;                   // −1: none
    void *filter;                           // struct sock_filter[filter_count]; written to, see below
    uint16_t filter_count;
    uint32_t pid_placeholder;               // the child replaces this constant in the filter by its own pid

    int pidfd;                              // out, close-on-exec
    int failed_step, failed_errno;          // out, EDGE_SPAWN_NONE when the executable runs
};

// Gives the calling thread, and what it spawns from now on, a view of /proc in which a process finds no process but those that it
// may trace: a sandboxed one finds itself. Nobody else's view changes. 0, or −1 with errno; needs CAP_SYS_ADMIN.
int edge_narrow_proc(void);

// Returns the pid, or −1 with `failed_step` and `failed_errno` set and nothing left behind. The calling thread must live as
// long as the child: its end kills the child (PR_SET_PDEATHSIG).
pid_t edge_spawn(struct edge_spawn_plan *plan);
