// SIGINT and SIGTERM as bytes in a pipe. Masks alone don't do: on Linux the main thread of a Swift program with an
// asynchronous `main` waits in sigsuspend(2) with no signal blocked, and takes the default action for the process.
#pragma once

// Catches both signals from now on. Returns the blocking read end of a close-on-exec pipe that gets one byte, its number,
// for each signal; −1 with errno. Once per process.
int edge_catch_termination(void);
// Lets the calling thread take both signals, or leaves them to others.
void edge_accept_termination(int accepts);
