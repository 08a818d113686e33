import DurableObjects

/// Going back (spec: durable-objects, section 3.5).
extension Probe {
    static func history(
        _ path: String, _ query: URLSearchParameters, _ state: DurableObjectState
    ) async throws -> Response? {
        let storage = state.storage
        switch path {
        case "/bookmark": return .text(try await storage.getCurrentBookmark())
        case "/bookmark-at":
            return .text(try await storage.getBookmarkForTime(query.get("t").flatMap { Int64($0) } ?? state.now))
        case "/restore": return .text(try await storage.onNextSessionRestoreBookmark(query.get("bookmark") ?? ""))
        case "/now": return .text("\(state.now)")
        // All rows alike, and of many pages: half of it shows.
        case "/fill":
            try storage.sql.exec("CREATE TABLE IF NOT EXISTS filling (id INTEGER PRIMARY KEY, value TEXT, ballast BLOB)")
            try storage.sql.exec(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
                INSERT OR REPLACE INTO filling SELECT i, ?, randomblob(3000) FROM n
                """, .text(query.get("v") ?? ""))
            try await storage.put("a", query.get("v") ?? "")
            return .text("filled")
        case "/filling":
            let row = try storage.sql.exec("SELECT count(*), min(value), max(value), sum(length(ballast)) FROM filling").one()
            return .text("\(try await storage.get("a", as: String.self) ?? "nil") \(row.values)")
        default: return nil
        }
    }
}
