// SQLite is the one owner of libsqlite3: connections, prepared statements, errors with their code names,
// hooks, check points and backup, without a raw pointer or code in its interface. It knows no schema, runs no
// thread and opens no transaction by itself.
//
// Threads. A connection is opened with SQLITE_OPEN_NOMUTEX ("multi-thread" mode,
// https://www.sqlite.org/threadsafe.html): different threads may use different connections at the same time,
// but one connection and all that was made from it (statements, scripts in progress, backups) belong to one
// thread at a time. `SQLiteConnection` and `SQLiteStatement` are therefore not Sendable: the thread that
// opens a connection keeps it. The exception is `SQLiteInterrupt`, which any thread may use
// (https://www.sqlite.org/c3ref/interrupt.html).
//
// Lifetimes. A statement keeps its connection alive and is finalized before it. Column pointers die with the
// next step, reset or conversion of that column (https://www.sqlite.org/c3ref/column_blob.html): they never
// leave a closure here. Bound values are copied.
