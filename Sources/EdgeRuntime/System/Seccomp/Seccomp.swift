// Seccomp turns a list of rules about system calls into the program that the kernel runs before each
// call of an isolate. It knows libseccomp and decides nothing: which calls an isolate may make is the
// business of Isolates.
