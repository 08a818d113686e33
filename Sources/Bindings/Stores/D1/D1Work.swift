internal import Interfaces
internal import SQLite
package import Stores
internal import System

/// What an engine is asked to do in one transaction.
enum D1Work: Sendable {
    case query([D1Request.Statement], D1Request.Take)
    /// As `query`, but each statement of each text gives a result.
    case each([D1Request.Statement])
    case exec(String)
    case script([String])
    /// Nothing: its answer is the bookmark.
    case bookmark
    /// Something that is done between transactions, on the writer's thread.
    case job(D1Job)

    /// What it holds in memory while it waits.
    var byteCount: Int {
        switch self {
        case .query(let statements, _), .each(let statements):
            statements.reduce(64) { sum, statement in
                statement.parameters.reduce(sum + statement.sql.utf8.count + 48) { $0 + $1.byteCount }
            }
        case .exec(let text): text.utf8.count + 64
        case .script(let texts): texts.reduce(64) { $0 + $1.utf8.count }
        case .bookmark, .job: 64
        }
    }

    /// Whether a reader should try it first. Only a guess from the first letters: what decides is SQLite's
    /// own judgement of the prepared statement.
    var looksReadOnly: Bool {
        switch self {
        case .query(let statements, _), .each(let statements): statements.allSatisfy { Self.looksReadOnly($0.sql) }
        case .bookmark: true
        case .exec, .script, .job: false
        }
    }

    var isJob: Bool { if case .job = self { true } else { false } }

    private static func looksReadOnly(_ sql: String) -> Bool {
        for byte in sql.utf8 {
            switch byte {
            case 0x20, 9, 10, 12, 13: continue
            // A comment or a semicolon: look for the first real word.
            case UInt8(ascii: "-"), UInt8(ascii: "/"), UInt8(ascii: ";"): break
            // SELECT, WITH, VALUES, EXPLAIN, PRAGMA; and SAVEPOINT, VACUUM, END, which are refused anywhere.
            default: return "swvep".utf8.contains(byte | 0x20)
            }
            break
        }
        return ["SELECT", "WITH", "VALUES", "EXPLAIN", "PRAGMA"].contains(SQLiteScript(sql).nextKeyword)
    }
}

/// A job for the writer's thread, and its outcome.
final class D1Job: Sendable {
    let run: @Sendable (D1Writer) throws -> Void
    init(_ run: @escaping @Sendable (D1Writer) throws -> Void) { self.run = run }
}

extension D1Value {
    /// Bytes in memory, roughly.
    fileprivate var byteCount: Int {
        switch self {
        case .null, .integer, .real: 16
        case .text(let text): text.utf8.count + 16
        case .blob(let bytes): bytes.count + 16
        }
    }
}

/// What a call is answered with.
package struct D1Answer: Sendable {
    /// The message that `D1ReplyReader` reads.
    package let bytes: [UInt8]
    /// What a long message counts against for as long as somebody holds it.
    package let share: Budget.Share?
}

/// A call that waits for its turn, or runs. Answered exactly once.
final class D1Call: Sendable {
    typealias Answer = Result<D1Answer, D1Failure>

    let work: D1Work
    /// Whether the answer names the newest bookmark, and the bookmark that it must have reached.
    let session: D1SessionDemand?
    let arrival: Instant
    let byteCount: Int
    private let continuation: CheckedContinuation<Answer, Never>

    init(
        _ work: D1Work, session: D1SessionDemand?, arrival: Instant, byteCount: Int,
        continuation: CheckedContinuation<Answer, Never>
    ) {
        self.work = work
        self.session = session
        self.arrival = arrival
        self.byteCount = byteCount
        self.continuation = continuation
    }

    func answer(_ answer: Answer) { continuation.resume(returning: answer) }
}

/// What a session wants of an answer.
enum D1SessionDemand: Sendable, Equatable {
    case any
    case atLeast(D1Bookmark)

    init(_ text: String) throws(D1Failure) {
        switch text {
        case "first-primary", "first-unconstrained": self = .any
        default:
            guard let bookmark = D1Bookmark(text) else {
                throw D1Failure("Invalid bookmark: \(D1Failure.shortened(text))", code: 7400)
            }
            self = .atLeast(bookmark)
        }
    }
}

/// Calls in order of arrival; taking one costs the same however many wait.
struct D1CallQueue {
    private var calls: [D1Call?] = []
    private var head = 0

    var count: Int { calls.count - head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ call: D1Call) { calls.append(call) }

    mutating func removeFirst() -> D1Call? {
        guard head < calls.count else { return nil }
        let call = calls[head]
        calls[head] = nil
        head += 1
        if head == calls.count {
            calls.removeAll(keepingCapacity: calls.count <= 1024)
            head = 0
        } else if head >= 1024, head * 2 >= calls.count {
            calls.removeFirst(head)
            head = 0
        }
        return call
    }

    /// Takes no more behind a job, which may take long: what waits behind it can still be refused.
    mutating func take(upTo limit: Int) -> [D1Call] {
        var taken: [D1Call] = []
        taken.reserveCapacity(min(limit, count))
        while taken.count < limit, taken.last?.work.isJob != true, let call = removeFirst() { taken.append(call) }
        return taken
    }

    /// Takes those that match, wherever they are; the others keep their order.
    mutating func remove(where matches: (D1Call) -> Bool) -> [D1Call] {
        var taken: [D1Call] = []
        let waiting = calls[head...].compactMap { $0 }
        guard waiting.contains(where: matches) else { return [] }
        calls = []
        head = 0
        for call in waiting { if matches(call) { taken.append(call) } else { calls.append(call) } }
        return taken
    }
}
