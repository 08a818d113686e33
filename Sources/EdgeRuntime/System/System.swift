// System is the thin coat over the kernel: descriptors, epoll, sockets, threads and time, each owned once and with
// errors that say what was tried. It decides nothing and knows neither HTTP nor isolates; the C libraries
// have a folder and a room of their own beside it.
