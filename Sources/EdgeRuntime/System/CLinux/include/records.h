// Records between two processes on one machine, each with descriptors: SCM_RIGHTS, whose macros Swift can't import.
#pragma once
#include <sys/types.h>

enum { EDGE_RECORD_DESCRIPTORS_MAX = 250 };  // The kernel's SCM_MAX_FD is 253.

// A connected pair of sockets that keep records apart, both close-on-exec.
int edge_record_pair(int pair[2]);
// 0, or -1 with errno. All of the record is sent, or nothing.
int edge_record_send(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count);
// The record's length, 0 at the end, -1 with errno. `descriptors` has room for EDGE_RECORD_DESCRIPTORS_MAX; what comes is
// close-on-exec.
ssize_t edge_record_receive(int socket, void *bytes, size_t room, int *descriptors, int *descriptor_count);
