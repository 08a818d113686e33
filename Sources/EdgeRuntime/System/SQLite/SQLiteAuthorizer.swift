/// Judges each thing that a statement wants to do while it is prepared
/// (https://www.sqlite.org/c3ref/set_authorizer.html). Called on the connection's thread, also for statements
/// that SQLite prepares again by itself after a change of schema, and for those that its virtual tables run
/// inside.
package protocol SQLiteAuthorizer: AnyObject {
    func allows(_ request: SQLiteAuthorization) -> Bool
}

/// One thing that a statement wants to do.
package struct SQLiteAuthorization: Sendable {
    package let action: SQLiteAction
    /// What the action is about; which is which differs by action: see the table at the address above.
    package let first: String?
    package let second: String?
    /// `main`, `temp`; `nil` where it means nothing.
    package let database: String?
}

/// The action codes of https://www.sqlite.org/c3ref/c_alter_table.html.
package enum SQLiteAction: Int32, Sendable {
    case createIndex = 1
    case createTable, createTemporaryIndex, createTemporaryTable, createTemporaryTrigger
    case createTemporaryView, createTrigger, createView, delete, dropIndex, dropTable, dropTemporaryIndex
    case dropTemporaryTable, dropTemporaryTrigger, dropTemporaryView, dropTrigger, dropView, insert, pragma,
        read
    case select, transaction, update, attach, detach, alterTable, reindex, analyze, createVirtualTable
    case dropVirtualTable, function, savepoint, recursive
}
