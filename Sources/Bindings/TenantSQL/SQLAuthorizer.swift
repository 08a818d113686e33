package import SQLite

/// Decides what a tenant's SQL may touch (spec: d1, section 6; durable-objects, 3.3), and notes what the statement being prepared
/// is up to.
///
/// Belongs to one connection and its thread. The connection keeps it.
package final class SQLAuthorizer: SQLiteAuthorizer {
    /// What was asked while a statement was prepared.
    package struct Notes {
        /// It wanted to begin or end a transaction.
        package var refusedTransaction = false
        /// It changes a pragma, whose value is to last to the end of the call.
        package var setsPragma = false
        /// It may give a table a name that the library doesn't show here.
        package var altersTable = false
        /// It looks harmless to the library and writes nevertheless.
        package var writesByPragma = false

        package init() {}
    }
    package var notes = Notes()
    /// Whether the statement is one of our own.
    package var isTrusted = false
    private let isForReader: Bool

    package init(isForReader: Bool) { self.isForReader = isForReader }

    package func allows(_ request: SQLiteAuthorization) -> Bool {
        guard !isTrusted else { return true }
        if request.database == "temp" {
            // ALTER TABLE looks there for names to change; nothing else can, and nothing is there.
            return notes.altersTable && request.first?.hasPrefix("sqlite_temp_") == true
        }
        switch request.action {
        case .select, .recursive: return true
        case .createIndex, .createTable, .createTrigger, .createView, .dropIndex, .dropTable, .dropTrigger,
            .dropView, .delete, .insert, .update, .reindex, .analyze, .dropVirtualTable:
            return !isReserved(request.first) && !isReserved(request.second)
        case .read: return !isReserved(request.first) && !isHiddenTable(request.first)
        case .alterTable:
            notes.altersTable = true
            return !isReserved(request.second)
        case .createVirtualTable:
            return !isReserved(request.first)
                && SQLAllowList.modules.contains(request.second?.lowercased() ?? "")
        case .function: return SQLAllowList.functions.contains(request.second?.lowercased() ?? "")
        case .pragma: return allowsPragma(request.first?.lowercased() ?? "", argument: request.second)
        case .transaction, .savepoint:
            notes.refusedTransaction = true
            return false
        case .attach, .detach, .createTemporaryIndex, .createTemporaryTable, .createTemporaryTrigger,
            .createTemporaryView, .dropTemporaryIndex, .dropTemporaryTable, .dropTemporaryTrigger,
            .dropTemporaryView:
            return false
        }
    }

    private func allowsPragma(_ name: String, argument: String?) -> Bool {
        guard let form = SQLAllowList.pragmas[name] else { return false }
        switch form {
        case .noArgument: return argument == nil
        case .objectName: return argument.map { !isReserved($0) } ?? false
        case .optionalName: return !isReserved(argument)
        case .boolean:
            guard let argument else { return true }
            notes.setsPragma = true
            // Such a pragma acts when it is prepared: on a reader it must not come so far.
            return !isForReader && SQLAllowList.truthValues.contains(argument.lowercased())
        case .mask:
            notes.writesByPragma = true
            let isMask = argument.map { Int64($0) != nil || $0.lowercased().hasPrefix("0x") } ?? true
            return !isForReader && isMask
        }
    }

    /// Names of the product's own tables, in any case.
    private func isReserved(_ name: String?) -> Bool {
        guard let name, name.utf8.count >= 4, name.utf8.first == UInt8(ascii: "_") else { return false }
        // By bytes, as SQLite sees it: an accent behind the prefix would make its last character another one.
        return name.utf8.prefix(4).map { $0 == UInt8(ascii: "_") ? $0 : $0 | 0x20 } == Array("_cf_".utf8)
    }

    /// Tables that the library makes up and that tell of its inside.
    private func isHiddenTable(_ name: String?) -> Bool {
        guard let name else { return false }
        return SQLAllowList.hiddenTables.contains(name.lowercased())
    }
}

/// What a tenant's SQL may use.
enum SQLAllowList {
    enum PragmaForm { case noArgument, objectName, optionalName, boolean, mask }

    static let pragmas: [String: PragmaForm] = [
        "data_version": .noArgument, "page_size": .noArgument, "table_list": .optionalName,
        "table_info": .objectName, "table_xinfo": .objectName, "foreign_key_list": .objectName,
        "index_info": .objectName, "index_list": .objectName, "index_xinfo": .objectName,
        "foreign_key_check": .optionalName, "quick_check": .optionalName,
        "case_sensitive_like": .boolean, "defer_foreign_keys": .boolean, "foreign_keys": .boolean,
        "ignore_check_constraints": .boolean, "legacy_alter_table": .boolean,
        "recursive_triggers": .boolean, "reverse_unordered_selects": .boolean, "optimize": .mask,
    ]

    static let truthValues: Set<String> = ["on", "off", "true", "false", "yes", "no", "0", "1"]

    static let modules: Set<String> = ["fts5", "fts5vocab", "rtree", "rtree_i32"]

    static let hiddenTables: Set<String> = [
        "dbstat", "sqlite_stmt", "sqlite_dbpage", "fts3tokenize", "bytecode", "tables_used", "sqlite_memstat",
    ]

    static let functions: Set<String> = Set(
        [
            // Core scalar functions (https://www.sqlite.org/lang_corefunc.html).
            "abs", "changes", "char", "coalesce", "concat", "concat_ws", "format", "glob", "hex", "if",
            "ifnull", "iif", "instr", "last_insert_rowid", "length", "like", "likelihood", "likely", "lower",
            "ltrim", "max", "min", "nullif", "octet_length", "printf", "quote", "random", "randomblob",
            "replace", "round", "rtrim", "sign", "soundex", "substr", "substring", "total_changes", "trim",
            "typeof", "unhex", "unicode", "unistr", "unistr_quote", "unlikely", "upper", "zeroblob",
            // Aggregates (https://www.sqlite.org/lang_aggfunc.html).
            "avg", "count", "group_concat", "median", "percentile", "percentile_cont", "percentile_disc",
            "string_agg", "sum", "total",
            // Windows (https://www.sqlite.org/windowfunctions.html).
            "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile",
            "percent_rank", "rank", "row_number",
            // Dates (https://www.sqlite.org/lang_datefunc.html).
            "current_date", "current_time", "current_timestamp", "date", "datetime", "julianday", "strftime",
            "time", "timediff", "unixepoch",
            // Mathematics (https://www.sqlite.org/lang_mathfunc.html).
            "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "ceiling", "cos", "cosh",
            "degrees", "exp", "floor", "ln", "log", "log10", "log2", "mod", "pi", "pow", "power", "radians",
            "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
            // JSON (https://www.sqlite.org/json1.html).
            "->", "->>", "json", "json_array", "json_array_insert", "json_array_length", "json_each",
            "json_error_position", "json_extract", "json_group_array", "json_group_object", "json_insert",
            "json_object", "json_patch", "json_pretty", "json_quote", "json_remove", "json_replace",
            "json_set", "json_tree", "json_type", "json_valid", "jsonb", "jsonb_array", "jsonb_extract",
            "jsonb_group_array", "jsonb_group_object", "jsonb_insert", "jsonb_object", "jsonb_patch",
            "jsonb_remove", "jsonb_replace", "jsonb_set", "jsonb_tree", "jsonb_each",
            // Full text (https://www.sqlite.org/fts5.html).
            "bm25", "highlight", "match", "snippet",
            // What ALTER TABLE calls inside; SQL can't (SQLITE_FUNC_INTERNAL in the library's alter.c).
            "sqlite_rename_table", "sqlite_rename_column", "sqlite_rename_test", "sqlite_rename_quotefix",
            "sqlite_drop_column",
        ])
}
