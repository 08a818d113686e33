// Looking at, ending and reaping one process, and the page it shares with the node.
#pragma once
#include <stdint.h>
#include <sys/types.h>

struct edge_process_end {
    int code;    // the exit code, or −1 when a signal ended it
    int signal;  // the signal, or 0
    uint64_t cpu_nanoseconds;
    uint64_t resident_bytes_max;  // counts the node's own resident memory at the time of the spawn as well
};

int edge_pidfd_open(pid_t pid);
int edge_pidfd_signal(int pidfd, int signal);
// Reaps `pid`: 1 when it has ended, 0 when it still runs, −1 with errno.
int edge_process_reap(pid_t pid, struct edge_process_end *end);
// CPU time of all its threads since its start, by the process' own clock; 0 on success.
int edge_process_cpu(pid_t pid, uint64_t *nanoseconds);
// The most memory this process ever had resident.
uint64_t edge_own_resident_bytes_max(void);

int edge_adopt_orphans(void);  // prctl(PR_SET_CHILD_SUBREAPER), which is variadic
// Gives SIGTERM, SIGHUP and SIGINT to the process that was named last, unless the kernel sent them for a terminal, which has
// sent them to the whole group. For processes with nothing else to do.
void edge_pass_signals_on(void);
void edge_set_signal_receiver(pid_t pid);

// A memfd of `size` bytes that nobody can shrink: a mapping of it never faults.
int edge_sealed_memory(const char *name, uint64_t size);
uint64_t edge_load_acquire(const void *address);
void edge_store_release(void *address, uint64_t value);

int edge_timer_create(void);
// Fires every `milliseconds`; 0 stops it.
int edge_timer_set(int timer, uint32_t milliseconds);
int edge_pipe(int ends[2]);  // close-on-exec, both ends non-blocking
int edge_open_path(const char *path);  // O_PATH | O_CLOEXEC
// 1 when the kernel knows the seccomp action, by its SECCOMP_RET_… value.
int edge_seccomp_action_available(uint32_t action);
// prctl(PR_GET_NO_NEW_PRIVS), which is variadic.
int edge_no_new_privileges(void);
