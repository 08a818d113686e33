// LMDB is the owner of liblmdb: environments, named databases, transactions, cursors, and a writer thread that
// lets waiting writers share one commit. It knows bytes in byte order and nothing of what stores keep in them.
//
// The library's rules (lmdb.h, "Restrictions/caveats", and mdb_env_set_mapsize, mdb_txn_begin, mdb_dbi_open), and
// who keeps them here:
//
// - An environment is opened once per process, never across fork. `LMDBEnvironment` holds an flock on a file of its
//   own, which also keeps a second node out.
// - A write transaction belongs to the thread that began it, and there is one at a time: `LMDBEnvironment.write`
//   runs its closure on the calling thread, under a lock.
// - With MDB_NOTLS a reader's slot belongs to the transaction object. Read transactions are kept and reused, each
//   by one thread at a time; a read is a closure, so none outlives the snapshot it reads.
// - The map may only be resized while no transaction of this process is active. Growth waits until all
//   readers have left their closures, which is why these must be short and must not wait for a writer.
// - mdb_dbi_open may not run in two transactions at once: handles are opened under the writer's lock and never
//   closed. A handle is seen by transactions that began after its own was committed.
// - What a transaction lends points into the map: it is valid until the closure ends, in a write transaction until
//   the next write. Spans make the compiler see to the first; callers see to the second.
// - Long-lived readers stop the reuse of freed pages. A kept transaction whose snapshot is out of date is given
//   up before the next write begins.
