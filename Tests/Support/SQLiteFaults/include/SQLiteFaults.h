// A SQLite VFS for tests (https://www.sqlite.org/vfs.html): it passes everything on to the system's, and fails what a test
// names. It is the process's default, so that connections are opened by it as they are in a node; unarmed it does nothing.
#pragma once

typedef enum {
    SQLITE_FAULT_NONE,
    // Nothing is written.
    SQLITE_FAULT_WRITE,
    // Half of it is written.
    SQLITE_FAULT_SHORT_WRITE,
    // Half of it is written: the disk is full.
    SQLITE_FAULT_FULL,
    // The kernel couldn't write what it had taken.
    SQLITE_FAULT_SYNC,
    SQLITE_FAULT_TRUNCATE,
    SQLITE_FAULT_READ,
    // What is read isn't what was written: some bytes in the middle of it are others.
    SQLITE_FAULT_CORRUPT,
    SQLITE_FAULT_OPEN,
    SQLITE_FAULT_DELETE,
    // No shared memory can be had for the log's index.
    SQLITE_FAULT_SHM,
} sqlite_fault;

// Makes the VFS the default one; once.
void sqlite_faults_install(void);

// Fails `fault` for files whose path ends with `suffix`: after `skip` operations of its kind, for `count` of them.
void sqlite_faults_arm(sqlite_fault fault, const char *suffix, int skip, int count);

// Nothing fails any more. Returns how many operations have failed since it was armed.
int sqlite_faults_disarm(void);
