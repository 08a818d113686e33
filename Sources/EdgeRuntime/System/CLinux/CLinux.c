#define _GNU_SOURCE
#include "CLinux.h"
#include <pthread.h>

int edge_accept(int listener, struct sockaddr *address, socklen_t *length) {
    return accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int edge_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

void edge_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
