// libsqlite3 as Swift can import it. Wrappers only for what it can't: variadic functions and cast macros.
#pragma once
// Debian compiles the library with the preupdate hook; its header shows it only to those who say so.
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <sqlite3.h>
#include <stdint.h>

// sqlite3_db_config is variadic.
static inline int edge_sqlite_configure(sqlite3 *database, int option, int value) {
    int current = 0;
    return sqlite3_db_config(database, option, value, &current);
}

// A global variable of the library, whose value must come from its own allocator. A copy without room stays NULL.
static inline void edge_sqlite_set_temporary_directory(const char *path) {
    sqlite3_temp_directory = sqlite3_mprintf("%s", path);
}

// SQLITE_TRANSIENT is a cast macro: SQLite copies the bytes before the call returns.
static inline int edge_sqlite_bind_text(sqlite3_stmt *statement, int index, const void *bytes, uint64_t count) {
    return sqlite3_bind_text64(statement, index, (const char *)bytes, count, SQLITE_TRANSIENT, SQLITE_UTF8);
}
static inline int edge_sqlite_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, uint64_t count) {
    return sqlite3_bind_blob64(statement, index, bytes, count, SQLITE_TRANSIENT);
}
