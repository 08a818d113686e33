// What the Glibc module doesn't export: epoll, eventfd, accept4, prctl, memfd, sendfile, and constants hidden in
// macros with casts. Wrappers only; nothing here decides anything. What hides behind _GNU_SOURCE stands in CLinux.c,
// because defining it here would make this module's view of libc differ from Swift's.
#pragma once
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// The union in epoll_event imports badly; the wrappers carry a plain 64-bit token.
static inline int edge_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }
static inline int edge_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, operation, fd, &event);
}
static inline uint64_t edge_epoll_token(const struct epoll_event *event) { return event->data.u64; }
static inline uint32_t edge_epoll_events(const struct epoll_event *event) { return event->events; }
static const uint32_t EDGE_EPOLLIN = EPOLLIN, EDGE_EPOLLOUT = EPOLLOUT, EDGE_EPOLLERR = EPOLLERR,
                      EDGE_EPOLLHUP = EPOLLHUP, EDGE_EPOLLRDHUP = EPOLLRDHUP, EDGE_EPOLLET = (uint32_t)EPOLLET;
static const int EDGE_EPOLL_ADD = EPOLL_CTL_ADD, EDGE_EPOLL_MOD = EPOLL_CTL_MOD, EDGE_EPOLL_DEL = EPOLL_CTL_DEL;

static inline int edge_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
int edge_accept(int listener, struct sockaddr *address, socklen_t *length);
// Has the kernel drop what would begin a new connection of the listening socket; handshakes that have begun go on.
int edge_refuse_handshakes(int listener);
int edge_memfd(const char *name);
void edge_name_thread(const char *name);
// Adds one to the eventfd whenever the signal comes, on whichever thread, instead of what the signal did.
int edge_count_signal(int number, int eventfd);
static inline int edge_socketpair(int pair[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
}
static inline int edge_socket(int family) {
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}
// syncfs(2), which the headers show only to those that ask for what is Linux's own.
int edge_syncfs(int descriptor);
static inline ssize_t edge_sendfile(int out, int in, int64_t *offset, size_t count) {
    off_t position = (off_t)*offset;
    ssize_t sent = sendfile(out, in, &position, count);
    *offset = (int64_t)position;
    return sent;
}

#include "isolate_spawn.h"
#include "landlock.h"
#include "process.h"
#include "records.h"
static inline int edge_inotify(void) { return inotify_init1(IN_CLOEXEC); }
static inline int edge_inotify_watch(int inotify, const char *path) {
    return inotify_add_watch(inotify, path, IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO);
}
