// TenantSQL is what holds for SQL that tenants write, whichever store runs it: what it may touch, and an estimate of the rows
// that it reads and writes; and how the past of a database is kept (`History`). It runs no statement.
