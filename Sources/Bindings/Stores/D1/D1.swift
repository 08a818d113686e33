// D1 serves SQL databases: one SQLite file each, with one writer that commits for everybody who waits and a
// few readers beside it. It knows databases by name and calls by their messages; bindings, HTTP and files'
// names stay outside of `D1Store`.
//
// The way of a call. `D1Service` decodes it; `EmbeddedD1Store` finds the database's `D1Engine`, which puts it
// into one of two queues. Statements that look like reads go to the readers: a reader takes one call after
// the other, shares one snapshot between those that were waiting, and renews the snapshot as soon as the
// writer has committed something, so each call sees all that was acknowledged before it was made. A statement
// that turns out to write is handed on to the writer.
//
// Group commit. The writer takes all waiting calls into one ordinary transaction, each inside a savepoint of
// its own, and commits once: one fdatasync for all, and nobody is answered before it. What one call does
// wrong takes only its own savepoint back. Deferred foreign keys are looked at when the call ends, as if it
// had been committed then. Where SQLite itself rolls the whole transaction back (ON CONFLICT ROLLBACK, time
// limit, full disk), the neighbours run again without the culprit.
//
// The write-ahead log is ours: automatic checkpoints are off, and the writer's thread copies the log into the
// file when it is long enough. A position in time is (generation, segment, frame): a segment is what lies
// between two checkpoints. `HistoryArchive` keeps the log of the past: see there.
