// Seccomp.
