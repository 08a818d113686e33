// LMDB.
