import DurableObjects
import SQLite

enum AccountMethods {
    static let add = RPCMethod<Int, Int>("add")
    static let read = RPCMethod<RPCNothing, Int>("read")
    static let transfer = RPCMethod<Transfer, Int>("transfer")
}

struct Transfer: Codable, Sendable {
    let to: String
    let amount: Int
}

/// A number that is added to, set and read: for the linearizability of what callers saw.
final class Account: DurableObject, DurableObjectFetchHandler, RPCTarget {
    private let state: DurableObjectState
    private let env: Env

    init(state: DurableObjectState, env: Env) throws {
        self.state = state
        self.env = env
        try state.storage.sql.exec("CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)")
    }

    static var methods: [RPCHandler<Account>] {
        [
            RPCHandler(AccountMethods.add) { account, amount in try account.add(amount) },
            RPCHandler(AccountMethods.read) { account, _ in try account.balance() },
            RPCHandler(AccountMethods.transfer) { account, transfer in try await account.transfer(transfer) },
        ]
    }

    func fetch(_ request: Request) async throws -> Response {
        let parameters = request.url.searchParameters
        switch request.path {
        case "/add": return .text("\(try add(Int(parameters.get("n") ?? "1") ?? 1))")
        case "/set":
            try set(Int(parameters.get("n") ?? "0") ?? 0)
            return .text("set")
        case "/read": return .text("\(try balance())")
        // The gate switched off: the read and the write stand in different turns.
        case "/broken-add":
            let read = try balance()
            try await state.context.sleep(for: .milliseconds(2))
            try set(read + 1)
            return .text("\(read + 1)")
        // What is acknowledged is on no disk.
        case "/unsynced":
            DurabilityFaults.shared.skip(parameters.get("off") == nil)
            return .text("ok")
        case "/unconfirmed-add":
            let read = try await state.storage.get("n", as: Int.self) ?? 0
            try await state.storage.put("n", read + 1, allowUnconfirmed: true)
            return .text("\(read + 1)")
        case "/select":
            let count = Int(parameters.get("n") ?? "1000") ?? 1000
            return .text("\(try parameters.get("raw") == nil ? select(count) : selectRaw(count))")
        default: return .empty(status: 404)
        }
    }

    private func balance() throws -> Int {
        guard let row = try state.storage.sql.exec("SELECT balance FROM account WHERE id = 1").next(),
            case .integer(let number) = row[0]
        else { return 0 }
        return Int(number)
    }

    private func set(_ balance: Int) throws {
        try state.storage.sql.exec(
            "INSERT INTO account VALUES (1, ?) ON CONFLICT DO UPDATE SET balance = excluded.balance", .integer(Int64(balance)))
    }

    private func add(_ amount: Int) throws -> Int {
        let sum = try balance() + amount
        try set(sum)
        return sum
    }

    private func transfer(_ transfer: Transfer) async throws -> Int {
        let left = try add(-transfer.amount)
        _ = try await env.durableObjects("ACCOUNTS").getByName(transfer.to).call(AccountMethods.add, transfer.amount)
        return left
    }

    /// The same without an object: one statement, prepared once, of a database whose pages are in memory as well.
    private func selectRaw(_ count: Int) throws -> Int64 {
        let sqlite = try SQLiteConnection(path: ":memory:", .create)
        try sqlite.execute("CREATE TABLE points (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
        for id in 0..<1000 { try sqlite.execute("INSERT INTO points VALUES (\(id), 'value \(id)')") }
        let statement = try sqlite.prepare("SELECT value FROM points WHERE id = ?", persistent: true)
        var byteCount = 0
        let duration = try ContinuousClock().measure {
            for number in 0..<count {
                try statement.bind(Int64(number % 1000), at: 1)
                guard try statement.step() else { continue }
                byteCount += statement.text(0)?.utf8.count ?? 0
                statement.reset()
            }
        }
        precondition(byteCount > 0, "there are rows")
        return duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
    }

    /// Point selects, for the bench: how many nanoseconds they took.
    private func select(_ count: Int) throws -> Int64 {
        let sql = state.storage.sql
        try sql.exec("CREATE TABLE IF NOT EXISTS points (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
        if try sql.exec("SELECT count(*) FROM points").one()[0] == 0 {
            for id in 0..<1000 { try sql.exec("INSERT INTO points VALUES (?, ?)", .integer(Int64(id)), .text("value \(id)")) }
        }
        let clock = ContinuousClock()
        let duration = try clock.measure {
            for number in 0..<count {
                _ = try sql.exec("SELECT value FROM points WHERE id = ?", .integer(Int64(number % 1000))).one()
            }
        }
        return duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
    }
}

/// A class without anything but its constructor and `fetch`; kept with keys and values only.
final class Plain: DurableObject, DurableObjectFetchHandler {
    private let state: DurableObjectState
    init(state: DurableObjectState, env: Env) throws { self.state = state }

    func fetch(_ request: Request) async throws -> Response {
        switch request.path {
        case "/alarm": try await state.storage.setAlarm(state.now + 1000)
        case "/sql": try state.storage.sql.exec("SELECT 1")
        case "/kv": _ = try state.storage.kv.get("a", as: Int.self)
        case "/bookmark": return .text(try await state.storage.getCurrentBookmark())
        case "/large": try await state.storage.put("a", [UInt8](repeating: 1, count: 131_200))
        case "/key": try await state.storage.put(String(repeating: "k", count: 2049), 1)
        case "/put":
            try await state.storage.put("a", 1)
            return .text("\(try await state.storage.get("a", as: Int.self) ?? 0)")
        default: return .empty(status: 404)
        }
        return .text("ok")
    }
}
