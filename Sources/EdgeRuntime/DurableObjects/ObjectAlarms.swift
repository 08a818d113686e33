internal import SQLite

/// The alarm of one object (spec: durable-objects, section 4). Its row in the object's file is the truth; the node's index, which
/// wakes the object, is never later than the row: it moves earlier before the commit, and later, or away, when the commit is
/// durable.
final class ObjectAlarms {
    private let database: ObjectDatabase
    /// Whether the class has a handler; until its constructor has returned nobody asks.
    var hasHandler = true
    private var isHandlerRunning = false
    private var wasSetInHandler = false
    /// What the node's index has, and whether that is being changed.
    private var indexed: Int64?
    private var isMoving = false
    /// The row may have been changed since it was compared with the index.
    private var isTouched = false

    static let row = 1

    init(_ database: ObjectDatabase) throws {
        self.database = database
        indexed = try time()
    }

    /// The row.
    func time() throws -> Int64? {
        try database.check()
        do {
            return try database.trusted {
                let statement = try database.prepareOwn("SELECT value FROM _cf_METADATA WHERE key = \(Self.row)")
                defer { database.keepOwn(statement) }
                return try statement.step() ? statement.integer(0) : nil
            }
        } catch let error as SQLiteError { throw database.failed(error) }
    }

    /// What the object's code sees.
    func visibleTime() throws -> Int64? { isHandlerRunning && !wasSetInHandler ? nil : try time() }

    func set(_ time: Int64) throws {
        guard time > 0 else { throw DurableObjectError("setAlarm() cannot be called with an alarm time <= 0") }
        guard hasHandler else {
            throw DurableObjectError("Your Durable Object class must have an alarm() handler in order to call setAlarm()")
        }
        try database.beginWriting()
        isTouched = true
        try database.run("INSERT OR REPLACE INTO _cf_METADATA (key, value) VALUES (\(Self.row), \(time))")
        wasSetInHandler = isHandlerRunning
    }

    func delete() throws {
        guard try time() != nil else { return }
        try database.beginWriting()
        isTouched = true
        try database.run("DELETE FROM _cf_METADATA WHERE key = \(Self.row)")
        wasSetInHandler = false
    }

    /// Something else has removed the row.
    func noteDeletion() {
        isTouched = true
        wasSetInHandler = false
    }

    // MARK: A restore that waits

    /// The state that the next opening goes back to may have an alarm that is earlier than the present one, and be committed when the
    /// isolate ends: so the node wakes the object soon, again and again until it was opened anew.
    private var wake: Int64?
    private static let wakeInterval: Int64 = 60_000

    func restoreIsArmed() {
        guard hasHandler else { return }
        wake = database.turns.now + Self.wakeInterval
        isTouched = true
    }

    /// What the node's index should have.
    private func indexTime() throws -> Int64? {
        guard let wake else { return try time() }
        return min(wake, try time() ?? .max)
    }

    /// When the node, which has asked in vain, should ask again.
    func nextWake() throws -> Int64? {
        guard wake != nil else { return try time() }
        wake = database.turns.now + Self.wakeInterval
        let next = try indexTime()
        if !isMoving { indexed = next }
        return next
    }

    // MARK: The handler

    func handlerBegins() {
        isHandlerRunning = true
        wasSetInHandler = false
    }

    /// - Returns: the alarm that there is now.
    func handlerSucceeded() throws -> Int64? {
        isHandlerRunning = false
        if !wasSetInHandler { try delete() }
        return try time()
    }

    /// - Parameter isLast: It isn't tried again.
    /// - Returns: the alarm that there is now: the same, to be tried again, or what the handler has set.
    func handlerFailed(isLast: Bool) throws -> Int64? {
        isHandlerRunning = false
        if isLast, !wasSetInHandler { try delete() }
        return try time()
    }

    // MARK: The node's index

    /// Before a commit.
    ///
    /// - Returns: whether it may go on. If not, `proceed` is called when it may.
    func mayCommit(_ proceed: @escaping () -> Void) -> Bool {
        guard isTouched, let wanted = try? indexTime(), indexed.map({ wanted < $0 }) ?? true else { return true }
        guard !isMoving else {
            waiting = proceed
            return false
        }
        move(to: wanted, proceed)
        return false
    }

    private var waiting: (() -> Void)?

    /// Whether the node's index has what the row has.
    var isSettled: Bool { !isMoving }

    /// After a commit is durable, and nothing is open.
    func committed() {
        guard isTouched, !isMoving, !database.isInTransaction else { return }
        do {
            let wanted = try indexTime()
            isTouched = false
            // A row that is earlier than the index was never committed.
            if wanted != indexed { move(to: wanted) {} }
        } catch {}  // A storage that can't be read has reset its object.
    }

    private func move(to wanted: Int64?, _ proceed: @escaping () -> Void) {
        isMoving = true
        database.turns.moveAlarm(to: wanted) { [self] error in
            isMoving = false
            if let error {
                return database.reset(DurableObjectError("The alarm could not be noted: \(error)", isObjectReset: true))
            }
            indexed = wanted
            database.changed()
            proceed()
            if let next = waiting {
                waiting = nil
                next()
            }
            // What was committed meanwhile.
            if database.failure == nil, database.isQuiet { committed() }
        }
    }
}
