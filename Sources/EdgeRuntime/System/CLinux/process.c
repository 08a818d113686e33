#define _GNU_SOURCE
#include "CLinux.h"
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

static uint64_t nanoseconds_of(struct timeval time) {
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

int edge_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int edge_pidfd_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int edge_process_reap(pid_t pid, struct edge_process_end *end) {
    int status;
    struct rusage usage;
    pid_t reaped;
    do reaped = wait4(pid, &status, WNOHANG, &usage);
    while (reaped < 0 && errno == EINTR);
    if (reaped <= 0) return (int)reaped;
    end->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end->cpu_nanoseconds = nanoseconds_of(usage.ru_utime) + nanoseconds_of(usage.ru_stime);
    end->resident_bytes_max = (uint64_t)usage.ru_maxrss * 1024;
    return 1;
}

int edge_process_cpu(pid_t pid, uint64_t *nanoseconds) {
    // The kernel's encoding of "scheduler clock of process pid", as clock_getcpuclockid(3) makes it.
    clockid_t clock = (clockid_t)((~(unsigned)pid << 3) | 2);
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) return -1;
    *nanoseconds = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
    return 0;
}

uint64_t edge_own_resident_bytes_max(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

int edge_sealed_memory(const char *name, uint64_t size) {
    int memory = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0) return -1;
    if (ftruncate(memory, (off_t)size) == 0
        && fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return memory;
    int error = errno;
    close(memory);
    errno = error;
    return -1;
}

uint64_t edge_load_acquire(const void *address) {
    return __atomic_load_n((const uint64_t *)address, __ATOMIC_ACQUIRE);
}

void edge_store_release(void *address, uint64_t value) {
    __atomic_store_n((uint64_t *)address, value, __ATOMIC_RELEASE);
}

int edge_timer_create(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

int edge_timer_set(int timer, uint32_t milliseconds) {
    struct timespec period = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    struct itimerspec setting = {.it_interval = period, .it_value = period};
    return timerfd_settime(timer, 0, &setting, NULL);
}

int edge_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC | O_NONBLOCK); }

int edge_open_path(const char *path) { return open(path, O_PATH | O_CLOEXEC); }

int edge_seccomp_action_available(uint32_t action) {
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int edge_no_new_privileges(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }

int edge_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

static volatile sig_atomic_t signal_receiver;

static void pass_signal_on(int number, siginfo_t *info, void *context) {
    (void)context;
    int saved = errno;
    if (signal_receiver > 0 && info->si_code <= 0) kill((pid_t)signal_receiver, number);
    errno = saved;
}

void edge_pass_signals_on(void) {
    struct sigaction action = {.sa_sigaction = pass_signal_on, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    // What is blocked from before exec would never come.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void edge_set_signal_receiver(pid_t pid) { signal_receiver = pid; }
