#define _GNU_SOURCE
#include <unistd.h>
#include "CLinux.h"
#include <pthread.h>

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
