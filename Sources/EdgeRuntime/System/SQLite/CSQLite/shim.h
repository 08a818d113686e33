// libsqlite3 as Swift can import it. Wrappers only for what it can't: variadic functions and cast macros.
#pragma once
// Debian compiles the library with the preupdate hook; its header shows it only to those who say so.
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <sqlite3.h>
#include <stdint.h>
#include <sys/stat.h>

// sqlite3_db_config is variadic.
static inline int edge_sqlite_configure(sqlite3 *database, int option, int value) {
    int current = 0;
    return sqlite3_db_config(database, option, value, &current);
}

// A global variable of the library, whose value must come from its own allocator. A copy without room stays NULL.
static inline void edge_sqlite_set_temporary_directory(const char *path) {
    sqlite3_temp_directory = sqlite3_mprintf("%s", path);
}

// The library follows links itself, with lstat and readlink, to the path that a file has from the root. Told that nothing is a link, it
// leaves that to the kernel, which goes where the process may go: below its working directory, whoever may read what is above.
static inline int edge_sqlite_leave_links(void) {
    sqlite3_vfs *files = sqlite3_vfs_find(0);
    if (!files || files->iVersion < 3 || !files->xSetSystemCall) return SQLITE_NOTFOUND;
    return files->xSetSystemCall(files, "lstat", (sqlite3_syscall_ptr)stat);
}

// SQLITE_TRANSIENT is a cast macro: SQLite copies the bytes before the call returns.
static inline int edge_sqlite_bind_text(sqlite3_stmt *statement, int index, const void *bytes, uint64_t count) {
    return sqlite3_bind_text64(statement, index, (const char *)bytes, count, SQLITE_TRANSIENT, SQLITE_UTF8);
}
static inline int edge_sqlite_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, uint64_t count) {
    return sqlite3_bind_blob64(statement, index, bytes, count, SQLITE_TRANSIENT);
}
