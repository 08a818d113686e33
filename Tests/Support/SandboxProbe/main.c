// A hostile worker in plain C: tries one thing and says on its first channel how it went. What to try is its
// first argument, where a worker has its name: `open:/etc/passwd`, `fork`, `balloon` … Each answer is one line
// "<attempt> <result> <errno>".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *attempt, long result, int error) {
    char line[512];
    int length = snprintf(line, sizeof line, "%s %ld %d\n", attempt, result, result < 0 ? error : 0);
    if (write(3, line, (size_t)length) != length) _exit(90);
}

// Echoes until the node closes the channel.
static void wait_for_the_end(void) {
    struct pollfd channel = {.fd = 3, .events = POLLIN};
    char byte;
    for (;;) {
        poll(&channel, 1, -1);
        ssize_t count = read(3, &byte, 1);
        if (count == 0) _exit(0);
        if (count == 1 && write(3, &byte, 1) != 1) _exit(91);
    }
}

static volatile uint64_t *map_status_page(int channels) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3 + channels, 0);
    return page == MAP_FAILED ? NULL : page;
}

static void spin(void) {
    for (volatile uint64_t i = 0;; i++) {}
}

static void *spin_thread(void *unused) {
    (void)unused;
    spin();
    return NULL;
}

static void *sleep_thread(void *unused) {
    (void)unused;
    for (;;) pause();
    return NULL;
}

static long recurse(long depth) {
    volatile char frame[4096];
    frame[depth % 4096] = (char)depth;
    return recurse(depth + 1) + frame[0];
}

static void balloon(size_t step) {
    for (;;) {
        char *block = malloc(step);
        if (block == NULL) abort();
        memset(block, 1, step);
    }
}

#define TRY(call)                                \
    do {                                         \
        errno = 0;                               \
        long result_ = (long)(call);             \
        say(#call, result_, errno);              \
    } while (0)

// Everything that must fail, and may be asked without being an attack. Each expression is the name of its answer.
static void survey(void) {
    static char buffer[65536];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)address;
    struct rlimit limit = {1 << 20, 1 << 20};
    TRY(socket(AF_INET, SOCK_STREAM, 0));
    TRY(socket(AF_INET6, SOCK_DGRAM, 0));
    TRY(socket(AF_UNIX, SOCK_STREAM, 0));
    TRY(socket(AF_NETLINK, SOCK_RAW, 0));
    TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)buffer));
    TRY(connect(3, (struct sockaddr *)&address, sizeof address));
    TRY(bind(3, (struct sockaddr *)&address, sizeof address));
    TRY(listen(3, 1));
    TRY(sendmsg(3, (struct msghdr *)buffer, 0));
    TRY(fork());
    TRY(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    TRY(syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET, 0, 0, 0, 0));
    TRY(syscall(SYS_clone3, buffer, 88));
    TRY(execl("/bin/sh", "sh", "-c", "id", (char *)NULL));
    TRY(syscall(SYS_execveat, AT_FDCWD, "/bin/sh", NULL, NULL, 0));
    TRY(syscall(SYS_execveat, 256, "", NULL, NULL, AT_EMPTY_PATH));
    TRY(syscall(SYS_dup3, 3, 256, 0));
    TRY(fcntl(3, F_DUPFD, 256));
    TRY(open("/etc/passwd", O_RDONLY));
    TRY(open("/etc/shadow", O_RDONLY));
    TRY(open("/proc/1/environ", O_RDONLY));
    TRY(open("/dev/kmsg", O_RDONLY));
    TRY(open("/", O_RDONLY | O_DIRECTORY));
    TRY(open("/usr/lib", O_RDONLY | O_DIRECTORY));
    TRY(open("/etc/passwd", O_PATH));
    TRY(open("/tmp/edge-probe", O_WRONLY | O_CREAT, 0600));
    TRY(open("/tmp", O_TMPFILE | O_RDWR, 0600));
    TRY(open("/dev/shm/edge-probe", O_RDWR | O_CREAT, 0600));
    TRY(open("/usr/lib/os-release", O_RDWR));
    TRY(truncate("/usr/lib/os-release", 0));
    TRY(ftruncate(4, 0));
    TRY(unlink("/tmp/edge-probe"));
    TRY(rename("/tmp/edge-probe", "/tmp/edge-probe-2"));
    TRY(link("/etc/passwd", "/tmp/edge-probe"));
    TRY(symlink("/etc/passwd", "/tmp/edge-probe"));
    TRY(mkdir("/tmp/edge-probe", 0700));
    TRY(rmdir("/tmp/edge-probe"));
    TRY(chmod("/tmp", 0777));
    TRY(chown("/tmp", 0, 0));
    TRY(mknod("/tmp/edge-probe", S_IFIFO | 0600, 0));
    TRY(chdir("/tmp"));
    TRY(access("/etc/passwd", R_OK));
    TRY(readlink("/proc/self/exe", buffer, sizeof buffer));
    TRY(syscall(SYS_getdents64, 3, buffer, sizeof buffer));
    TRY(kill(getppid(), 0));
    TRY(kill(getppid(), SIGKILL));
    TRY(kill(-1, SIGKILL));
    TRY(syscall(SYS_tkill, getppid(), SIGKILL));
    TRY(syscall(SYS_tgkill, getppid(), getppid(), SIGKILL));
    TRY(syscall(SYS_rt_sigqueueinfo, getppid(), SIGKILL, buffer));
    TRY(prctl(PR_SET_PDEATHSIG, 0));
    TRY(prctl(PR_SET_DUMPABLE, 1));
    TRY(prctl(PR_SET_SECCOMP, 0, 0));
    TRY(setsid());
    TRY(setpgid(0, 0));
    TRY(setpriority(PRIO_PROCESS, 0, -20));
    TRY(setrlimit(RLIMIT_NOFILE, &limit));
    TRY(syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, NULL, &limit));
    TRY(sched_setaffinity(0, 8, (cpu_set_t *)buffer));
    TRY(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, buffer));
    TRY(syscall(SYS_memfd_create, "x", 0));
    TRY(syscall(SYS_personality, 0x0400000));
    TRY(syscall(SYS_pipe2, buffer, 0));
    TRY(syscall(SYS_shmget, 1, 4096, 0600 | 01000));
    TRY(syscall(SYS_mq_open, "x", O_RDWR | O_CREAT, 0600, NULL));
    TRY(syscall(SYS_inotify_init1, 0));
    TRY(syscall(SYS_seccomp, 0, 0, NULL));
    TRY(syscall(SYS_landlock_create_ruleset, NULL, 0, 1));
#if defined(__x86_64__)
    TRY(syscall(SYS_vfork));
    TRY(syscall(SYS_arch_prctl, 0x1001, 0));
#endif
    TRY(syscall(SYS_vhangup));
    TRY(syscall(SYS_mlockall, 3));
    TRY(mlock(buffer, sizeof buffer));
    TRY(syscall(462, buffer, 4096, 0));  // mseal: too new for libseccomp, so as if the kernel lacked it
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("mmap(writable and executable)", memory == MAP_FAILED ? -1 : 0, errno);
    memory = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("mmap(anonymous and executable)", memory == MAP_FAILED ? -1 : 0, errno);
    memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    say("mmap(shared and anonymous)", memory == MAP_FAILED ? -1 : 0, errno);
    memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRY(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
    say("done", 0, 0);
}

// What a worker needs, and must get.
// What an isolate with a directory of its own may do there, then what it may not. Its own is `mine` in the directory it runs in.
static void files(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    say("mkdir", mkdir("/proc/self/cwd/mine/ab", 0700), errno);
    int file = open("/proc/self/cwd/mine/ab/one", O_RDWR | O_CREAT | O_EXCL, 0600);
    say("create", file, errno);
    say("lock", fcntl(file, 37 /* F_OFD_SETLK */, &lock), errno);
    say("pwrite", pwrite(file, "text", 4, 0), errno);
    say("fdatasync", fdatasync(file), errno);
    say("ftruncate", ftruncate(file, 2), errno);
    say("rename", rename("mine/ab/one", "mine/ab/two"), errno);
    struct stat status;
    say("stat", stat("mine/ab/two", &status), errno);
    say("unlink", unlink("mine/ab/two"), errno);
    say("refused", 0, 0);
    const char *places[] = {"other/one", "one", "../one", "mine/../other/two", "/tmp/edge-probe", "mine/link/one"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) say(places[i], open(places[i], O_RDWR | O_CREAT, 0600), errno);
    say("theirs", open("other/theirs", O_RDWR), errno);
    say("read", open("other/theirs", O_RDONLY), errno);
    say("unlink-theirs", unlink("other/theirs"), errno);
    say("rename-out", rename("mine/ab", "other/ab"), errno);
    say("symlink", symlink("/etc/passwd", "mine/ab/link"), errno);
    say("link", link("other/theirs", "mine/ab/theirs"), errno);
    say("mkdir-out", mkdir("new", 0700), errno);
    say("path-only", open("other/theirs", O_PATH), errno);
    say("chmod", chmod("mine/ab", 0777), errno);
    say("mkfifo", mknod("mine/ab/fifo", S_IFIFO | 0600, 0), errno);
    say("socket", socket(AF_UNIX, SOCK_STREAM, 0), errno);
    say("execute", open("mine/ab/program", O_RDWR | O_CREAT, 0700) < 0 ? -2 : execl("mine/ab/program", "program", NULL), errno);
    say("done", 0, 0);
}

static void needs(int channels) {
    pthread_t thread;
    TRY(pthread_create(&thread, NULL, sleep_thread, NULL));
    TRY(map_status_page(channels) == NULL ? -1 : 0);
    TRY(write(2, "hello\n", 6) == 6 ? 0 : -1);
    TRY(eventfd(0, EFD_CLOEXEC));
    void *library = dlopen("libcrypto.so.3", RTLD_NOW);
    if (library == NULL) {
        say("dlopen(libcrypto) missing", 0, 0);
    } else {
        int (*initialize)(uint64_t, const void *) = (int (*)(uint64_t, const void *))dlsym(library, "OPENSSL_init_crypto");
        int (*random)(unsigned char *, int) = (int (*)(unsigned char *, int))dlsym(library, "RAND_bytes");
        unsigned char bytes[16];
        say("dlopen(libcrypto)", initialize(0xC, NULL) == 1 && random(bytes, 16) == 1 ? 0 : -1, 0);
    }
    TRY(getenv("PATH") == NULL && getenv("HOME") == NULL ? 0 : -1);
    int open_count = 0;
    for (int fd = 0; fd < 1024; fd++)
        if (fd != 3 + channels + 1 && fcntl(fd, F_GETFD) >= 0) open_count++;
    TRY(open_count == 3 + channels + 1 ? 0 : -1);
    say("done", 0, 0);
}

static int attack(const char *name) {
    static char buffer[4096];
    static const struct {
        const char *name;
        long number;
    } calls[] = {
        {"process_vm_readv", SYS_process_vm_readv}, {"pidfd_open", SYS_pidfd_open},
        {"bpf", SYS_bpf},                           {"perf_event_open", SYS_perf_event_open},
        {"userfaultfd", SYS_userfaultfd},           {"io_uring_setup", SYS_io_uring_setup},
        {"keyctl", SYS_keyctl},                     {"unshare", SYS_unshare},
        {"mount", SYS_mount},                       {"chroot", SYS_chroot},
        {"init_module", SYS_init_module},           {"setuid", SYS_setuid},
        {"reboot", SYS_reboot},                     {"ptrace", SYS_ptrace},
    };
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (strcmp(name, calls[i].name) != 0) continue;
        long first = strcmp(name, "ptrace") == 0 ? 16 /* PTRACE_ATTACH */ : 0;
        errno = 0;
        long result = syscall(calls[i].number, first, getppid(), buffer, 0, 0);
        say(name, result, errno);
        return 1;
    }
    return 0;
}

#if defined(__x86_64__)
// getpid by the number of 32-bit x86.
static void call_by_32_bit_number(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    say("int80", result, 0);
}
#endif

int main(int count, char **arguments) {
    const char *mode = count > 0 ? arguments[0] : "";
    int channels = 1;
    if (count > 1) sscanf(arguments[1], "--edge-isolate=%d", &channels);

    if (strcmp(mode, "hello") == 0) {
        say("hello", 0, 0);
        wait_for_the_end();
    }
    if (strcmp(mode, "survey") == 0) survey();
    if (strcmp(mode, "needs") == 0) needs(channels);
    if (strcmp(mode, "files") == 0) files();
    if (strncmp(mode, "open:", 5) == 0) {
        int file = open(mode + 5, O_RDONLY);
        say("open", file, errno);
    }
    if (strncmp(mode, "exit:", 5) == 0) _exit(atoi(mode + 5));
    if (strncmp(mode, "attack:", 7) == 0) attack(mode + 7);
#if defined(__x86_64__)
    if (strcmp(mode, "int80") == 0) call_by_32_bit_number();
    if (strcmp(mode, "x32") == 0) say("x32", syscall(0x40000000 | SYS_getpid), 0);
#endif
    if (strcmp(mode, "spin-on-page") == 0) {
        volatile uint64_t *page = map_status_page(channels);
        page[1] = (uint64_t)(channels - 1) << 32 | 7;
        page[0] = 1;
        say("spinning", 0, 0);
        spin();
    }
    if (strcmp(mode, "spin") == 0) {
        say("spinning", 0, 0);
        spin();
    }
    if (strcmp(mode, "spin-in-background") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, spin_thread, NULL);
        say("spinning", 0, 0);
        wait_for_the_end();
    }
    if (strcmp(mode, "balloon") == 0) {
        say("growing", 0, 0);
        balloon(1 << 20);
    }
    if (strcmp(mode, "recursion") == 0) return (int)recurse(0);
    if (strcmp(mode, "descriptors") == 0) {
        long opened = 0;
        while (eventfd(0, 0) >= 0) opened++;
        say("descriptors", opened, 0);
    }
    if (strcmp(mode, "threads") == 0) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 16384);
        pthread_t thread;
        long started = 0;
        while (started < 100000 && pthread_create(&thread, &attributes, sleep_thread, NULL) == 0) started++;
        say("threads", started, 0);
    }
    if (strcmp(mode, "flood") == 0) {
        say("flooding", 0, 0);
        char line[128];
        memset(line, 'x', sizeof line);
        line[127] = '\n';
        for (;;) (void)!write(2, line, sizeof line);
    }
    if (strcmp(mode, "shrink-status-page") == 0) say("ftruncate", ftruncate(3 + channels, 0), errno);
    if (strcmp(mode, "abort") == 0) abort();
    if (strcmp(mode, "mute") == 0)
        for (;;) poll(NULL, 0, 1000);  // Not pause(2), which the filter refuses: that would spin.
    wait_for_the_end();
}
