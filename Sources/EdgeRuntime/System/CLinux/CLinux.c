#define _GNU_SOURCE
#include <unistd.h>
#include "CLinux.h"

#include <linux/filter.h>
#include <pthread.h>

int edge_refuse_handshakes(int listener) {
    // The TCP header's flags are its byte 13; SYN is 2.
    struct sock_filter code[] = {
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, 13},
        {BPF_JMP | BPF_JSET | BPF_K, 0, 1, 2},
        {BPF_RET | BPF_K, 0, 0, 0},
        {BPF_RET | BPF_K, 0, 0, UINT32_MAX},
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

int edge_accept(int listener, struct sockaddr *address, socklen_t *length) {
    return accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int edge_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

void edge_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

static volatile sig_atomic_t signal_counters[_NSIG];

static void count_signal(int number) {
    int saved = errno;
    uint64_t one = 1;
    ssize_t written = write(signal_counters[number], &one, sizeof one);  // Allowed in a handler (signal-safety(7)).
    (void)written;
    errno = saved;
}

int edge_count_signal(int number, int eventfd) {
    if (number < 1 || number >= _NSIG) return -1;
    signal_counters[number] = eventfd;
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL);
}

int edge_syncfs(int descriptor) { return syncfs(descriptor); }
