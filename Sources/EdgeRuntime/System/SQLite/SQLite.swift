// SQLite.
