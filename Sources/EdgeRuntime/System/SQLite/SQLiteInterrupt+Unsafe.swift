internal import CSQLite

/// Ends whatever statement a connection runs, from any thread. Keeps the connection open.
@safe package struct SQLiteInterrupt: @unchecked Sendable {  // sqlite3_interrupt is safe on any thread.
    private let connection: SQLiteConnection

    package init(_ connection: SQLiteConnection) { self.connection = connection }

    /// The running statement throws `.interrupted`; nothing happens when none runs.
    package func interrupt() { unsafe sqlite3_interrupt(connection.handle) }
}
