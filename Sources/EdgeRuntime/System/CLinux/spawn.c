#define _GNU_SOURCE
#include "CLinux.h"
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// Layout of the kernel's own sigaction and sigset, which differ from glibc's. All zero is "default, no flags".
struct kernel_sigaction {
    unsigned long words[8];
};
enum { KERNEL_SIGSET_BYTES = 8, SIGNALS = 64 };

struct child_context {
    struct edge_spawn_plan *plan;
    pid_t parent;
};

// errno here is the variable of the parent's thread, which is suspended until exec or exit (CLONE_VFORK).
static void fail(struct edge_spawn_plan *plan, enum edge_spawn_step step) {
    plan->failed_errno = errno;
    plan->failed_step = step;
    for (;;) syscall(SYS_exit_group, 127);
}

static void check(long result, struct edge_spawn_plan *plan, enum edge_spawn_step step) {
    if (result < 0) fail(plan, step);
}

// Gives the child exactly 0, 1, 2, what is passed, and the executable. Every source first moves above all targets, so that
// no target can overwrite a source. Returns where the ruleset went.
static int arrange_descriptors(struct edge_spawn_plan *plan) {
    int moved[EDGE_SPAWN_PASSED_MAX + 4];
    int count = 0;
    int sources[3] = {plan->null_descriptor, plan->log_descriptor, plan->executable};
    for (int i = 0; i < 3; i++) {
        moved[count] = (int)syscall(SYS_fcntl, sources[i], F_DUPFD_CLOEXEC, plan->executable_number + 1);
        check(moved[count++], plan, EDGE_SPAWN_DESCRIPTORS);
    }
    for (int i = 0; i < plan->passed_count; i++) {
        moved[count] = (int)syscall(SYS_fcntl, plan->passed[i], F_DUPFD_CLOEXEC, plan->executable_number + 1);
        check(moved[count++], plan, EDGE_SPAWN_DESCRIPTORS);
    }
    int ruleset = -1;
    if (plan->landlock_ruleset >= 0) {
        ruleset = (int)syscall(SYS_fcntl, plan->landlock_ruleset, F_DUPFD_CLOEXEC, plan->executable_number + 1);
        check(ruleset, plan, EDGE_SPAWN_DESCRIPTORS);
    }
    check(syscall(SYS_dup3, moved[0], 0, 0), plan, EDGE_SPAWN_DESCRIPTORS);
    check(syscall(SYS_dup3, moved[0], 1, 0), plan, EDGE_SPAWN_DESCRIPTORS);
    check(syscall(SYS_dup3, moved[1], 2, 0), plan, EDGE_SPAWN_DESCRIPTORS);
    for (int i = 0; i < plan->passed_count; i++)
        check(syscall(SYS_dup3, moved[3 + i], 3 + i, 0), plan, EDGE_SPAWN_DESCRIPTORS);
    check(syscall(SYS_dup3, moved[2], plan->executable_number, O_CLOEXEC), plan, EDGE_SPAWN_DESCRIPTORS);
    check(syscall(SYS_close_range, 3 + plan->passed_count, plan->executable_number - 1, 0), plan,
          EDGE_SPAWN_DESCRIPTORS);
    return ruleset;
}

static void write_own_pid(struct edge_spawn_plan *plan) {
    struct sock_filter *filter = plan->filter;
    uint32_t pid = (uint32_t)syscall(SYS_getpid);
    for (int i = 0; i < plan->filter_count; i++)
        if (BPF_CLASS(filter[i].code) == BPF_JMP && filter[i].k == plan->pid_placeholder) filter[i].k = pid;
}

static int child(void *argument) {
    struct child_context *context = argument;
    struct edge_spawn_plan *plan = context->plan;

    // The node ignores SIGPIPE and handles SIGTERM; neither is the isolate's business.
    struct kernel_sigaction reset = {{0}};
    for (int number = 1; number <= SIGNALS; number++)
        syscall(SYS_rt_sigaction, number, &reset, NULL, KERNEL_SIGSET_BYTES);
    // A session of its own: no controlling terminal, and a Ctrl-C at the node's is not the isolate's.
    check(syscall(SYS_setsid), plan, EDGE_SPAWN_SESSION);
    // While it is still the node's user, who may go where the directory is.
    check(plan->directory >= 0 ? syscall(SYS_fchdir, plan->directory) : syscall(SYS_chdir, "/"), plan, EDGE_SPAWN_DIRECTORY);
    int ruleset = arrange_descriptors(plan);
    syscall(SYS_umask, 077);

    for (int i = 0; i < plan->limit_count; i++) {
        uint64_t limit[2] = {plan->limits[i].value, plan->limits[i].value};
        check(syscall(SYS_prlimit64, 0, plan->limits[i].resource, limit, NULL), plan,
              EDGE_SPAWN_RESOURCE_LIMITS);
    }
    if (plan->switch_identity) {
        // Raw: glibc's versions would broadcast the change to the node's other threads.
        check(syscall(SYS_setgroups, 0, NULL), plan, EDGE_SPAWN_IDENTITY);
        check(syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid), plan, EDGE_SPAWN_IDENTITY);
        check(syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid), plan, EDGE_SPAWN_IDENTITY);
    }
    // After the change of uid, which clears it. A parent that died before has already been replaced.
    check(syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), plan, EDGE_SPAWN_PARENT_DEATH);
    if (syscall(SYS_getppid) != context->parent) {
        errno = ESRCH;
        fail(plan, EDGE_SPAWN_PARENT_DEATH);
    }
    check(syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), plan, EDGE_SPAWN_NO_NEW_PRIVILEGES);
    if (ruleset >= 0) check(syscall(SYS_landlock_restrict_self, ruleset, 0), plan, EDGE_SPAWN_LANDLOCK);
    check(syscall(SYS_close_range, plan->executable_number + 1, ~0u, 0), plan, EDGE_SPAWN_DESCRIPTORS);

    uint64_t none = 0;
    check(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, KERNEL_SIGSET_BYTES), plan, EDGE_SPAWN_SIGNALS);
    if (plan->filter_count > 0) {
        write_own_pid(plan);
        struct sock_fprog program = {plan->filter_count, plan->filter};
        check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), plan, EDGE_SPAWN_SECCOMP);
    }
    char *const environment[1] = {NULL};
    syscall(SYS_execveat, plan->executable_number, "", plan->arguments, environment, AT_EMPTY_PATH);
    fail(plan, EDGE_SPAWN_EXEC);
    return 127;
}

pid_t edge_spawn(struct edge_spawn_plan *plan) {
    char stack[32 * 1024] __attribute__((aligned(64)));  // Ours while this thread is suspended in clone.
    struct child_context context = {plan, getpid()};
    uint64_t all = ~0ull, before;
    plan->pidfd = -1;
    plan->failed_step = EDGE_SPAWN_NONE;
    plan->failed_errno = 0;
    if (plan->passed_count > EDGE_SPAWN_PASSED_MAX) {
        plan->failed_step = EDGE_SPAWN_DESCRIPTORS;
        plan->failed_errno = E2BIG;
        return -1;
    }
    // A child that changes its uid while it shares the node's memory makes that memory undumpable (prctl(2),
    // PR_SET_DUMPABLE); the node gets its own setting back.
    int dumpable = prctl(PR_GET_DUMPABLE);
    // No signal handler of the node may run in the child: it would run on the node's memory.
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, KERNEL_SIGSET_BYTES);
    pid_t pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &context,
                      &plan->pidfd);
    int error = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, KERNEL_SIGSET_BYTES);
    if (dumpable == 1) prctl(PR_SET_DUMPABLE, 1);
    if (pid < 0) {
        plan->failed_step = EDGE_SPAWN_CLONE;
        plan->failed_errno = error;
        return -1;
    }
    if (plan->failed_step != EDGE_SPAWN_NONE) {
        int status;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        close(plan->pidfd);
        plan->pidfd = -1;
        return -1;
    }
    return pid;
}

int edge_narrow_proc(void) {
    // A mount namespace belongs to a thread as much as to a process (unshare(2)). Slaves: what the machine unmounts goes
    // away here too, what is mounted here stays here.
    if (unshare(CLONE_NEWNS) != 0) return -1;
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) return -1;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=ptraceable,subset=pid");
}
