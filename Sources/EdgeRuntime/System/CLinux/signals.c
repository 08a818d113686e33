#define _GNU_SOURCE
#include "signals.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile int write_end = -1;

// Any thread, at any moment: only what signal-safety(7) allows.
static void arrived(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // A full pipe means that thousands are unread; one more changes nothing.
    if (write(write_end, &byte, 1) < 0) errno = saved;
    errno = saved;
}

int edge_catch_termination(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    if (fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) return -1;
    write_end = ends[1];
    struct sigaction action = {.sa_handler = arrived, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0) return -1;
    return ends[0];
}

void edge_accept_termination(int accepts) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(accepts ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}
