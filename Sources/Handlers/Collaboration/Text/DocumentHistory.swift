/// An operation as the server has ordered it.
package struct LogEntry: Equatable, Sendable {
    /// The document's revision after it; the first is 1.
    package var revision: Int
    package var operation: TextOperation
    package var author: String
    package var client: String
    package var sequence: Int
    /// Milliseconds since 1970.
    package var time: Int64

    package init(revision: Int, operation: TextOperation, author: String, client: String, sequence: Int, time: Int64) {
        self.revision = revision
        self.operation = operation
        self.author = author
        self.client = client
        self.sequence = sequence
        self.time = time
    }
}

/// What a client asks to have done.
package struct Submission: Equatable, Sendable {
    /// The revision that the operation is made for.
    package var revision: Int
    package var operation: TextOperation
    package var author: String
    /// The client's own identity, which it keeps when it connects anew.
    package var client: String
    /// 1 for a client's first operation, then one more each. The same number again is the same operation again.
    package var sequence: Int

    package init(revision: Int, operation: TextOperation, author: String, client: String, sequence: Int) {
        self.revision = revision
        self.operation = operation
        self.author = author
        self.client = client
        self.sequence = sequence
    }
}

package enum SubmissionOutcome: Equatable, Sendable {
    case applied(LogEntry)
    /// It was applied before, as the answer got lost. `nil` when that was not the client's last one.
    case repeated(revision: Int?)
    case refused(SubmissionRefusal)
}

package enum SubmissionRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// The document has no such revision, or none any more that operations could be brought on from.
    case unknownRevision(Int, oldest: Int, newest: Int)
    case outOfSequence(Int, expected: Int)
    case document(TextDocument.Refusal)

    /// Stable, for programs.
    var code: String {
        switch self {
        case .unknownRevision: "unknown_revision"
        case .outOfSequence: "out_of_sequence"
        case .document(.tooLong): "document_too_long"
        case .document: "invalid_operation"
        }
    }

    package var description: String {
        switch self {
        case .unknownRevision(let revision, let oldest, let newest):
            "revision \(revision) is not one of \(oldest)...\(newest); join again"
        case .outOfSequence(let sequence, let expected):
            "sequence \(sequence) came where \(expected) was expected; join again"
        case .document(let refusal): refusal.description
        }
    }
}

/// What a client that was away has missed.
package enum CatchUp: Equatable, Sendable {
    package struct Step: Equatable, Sendable {
        /// The revision that the step leads to.
        package var revision: Int
        /// What others did; `nil` where the client's own operation stands.
        package var operation: TextOperation?
        /// The client's own.
        package var acknowledges: Int?
    }

    case steps([Step])
    /// The log doesn't reach back so far.
    case snapshot
}

/// How much of the log is kept for clients that come back; those that were away for longer merge with a snapshot.
package struct DocumentRetention: Sendable {
    package var entriesMax = 5_000
    package var byteCountMax = 8 << 20
    /// Operations between two snapshots, so that opening the room reads few.
    package var snapshotInterval = 100

    package init() {}
}

/// The document and its log: puts operations in an order, brings each on over those that its client hadn't seen, and keeps as many
/// as clients that come back need. Owner: the room.
///
/// Each operation's row is written before its outcome is given out, and the client's sequence with it, in one transaction of the
/// storage: so what is acknowledged is there after a crash, and what comes twice is applied once.
package struct DocumentHistory<Storage: RoomStorage> {
    package private(set) var document: TextDocument
    package private(set) var revision: Int
    /// Operations after this revision are kept.
    package private(set) var oldestRevision: Int
    private let storage: Storage
    private let retention: DocumentRetention
    private var snapshotRevision: Int
    /// The newest entries, so that an operation that is a little behind needs no query.
    private var recent: [LogEntry]

    private static var recentMax: Int { 64 }

    /// - Throws: what the storage throws; `SubmissionRefusal` if its log doesn't fit its snapshot.
    package init(_ storage: Storage, retention: DocumentRetention = .init()) throws {
        self.storage = storage
        self.retention = retention
        let snapshot = try storage.snapshot()
        document = TextDocument(snapshot.text)
        revision = snapshot.revision
        snapshotRevision = snapshot.revision
        let entries = try storage.entries(after: snapshot.revision)
        for entry in entries {
            guard entry.revision == revision + 1 else {
                throw SubmissionRefusal.unknownRevision(entry.revision, oldest: revision + 1, newest: revision + 1)
            }
            try document.apply(entry.operation, lengthMax: .max)
            revision = entry.revision
        }
        recent = Array(entries.suffix(Self.recentMax))
        oldestRevision = try storage.oldestRevision() ?? revision
    }

    /// - Throws: what the storage throws; nothing holds then, and the room must be opened anew.
    package mutating func submit(
        _ submission: Submission, at now: Int64, lengthMax: Int = TextDocument.lengthMax
    ) throws -> SubmissionOutcome {
        let last = try storage.lastSubmission(author: submission.author, client: submission.client)
        let known = last?.sequence ?? 0
        if submission.sequence <= known {
            return .repeated(revision: submission.sequence == known ? last?.revision : nil)
        }
        guard submission.sequence == known + 1 else {
            return .refused(.outOfSequence(submission.sequence, expected: known + 1))
        }
        guard (oldestRevision...revision).contains(submission.revision) else {
            return .refused(.unknownRevision(submission.revision, oldest: oldestRevision, newest: revision))
        }
        var operation = submission.operation
        do {
            for entry in try entries(after: submission.revision) {
                operation = try TextOperation.transform(entry.operation, operation).later
            }
            try document.apply(operation, lengthMax: lengthMax)
        } catch let mismatch as TextOperation.LengthMismatch {
            return .refused(.document(.length(mismatch)))
        } catch let refusal as TextDocument.Refusal {
            return .refused(.document(refusal))
        }
        revision += 1
        let entry = LogEntry(
            revision: revision, operation: operation, author: submission.author, client: submission.client,
            sequence: submission.sequence, time: now)
        try storage.append(entry)
        recent.append(entry)
        if recent.count > 2 * Self.recentMax { recent.removeFirst(recent.count - Self.recentMax) }
        if revision - snapshotRevision >= retention.snapshotInterval { try compact(at: now) }
        return .applied(entry)
    }

    /// What happened after a revision.
    ///
    /// Where the client's own operation stands among them, those before it come one by one, as it was brought on over them here:
    /// transforming over two operations and over their composition may put insertions at one place in another order. What follows
    /// comes as one.
    package func catchUp(from start: Int, author: String, client: String) throws -> CatchUp {
        guard (oldestRevision...revision).contains(start) else { return .snapshot }
        let missed = try entries(after: start)
        let isOwn = { (entry: LogEntry) in entry.author == author && entry.client == client }
        let last = missed.lastIndex(where: isOwn).map { $0 + 1 } ?? 0
        var steps = missed[..<last].map { entry in
            CatchUp.Step(
                revision: entry.revision, operation: isOwn(entry) ? nil : entry.operation,
                acknowledges: isOwn(entry) ? entry.sequence : nil)
        }
        if let operation = try TextOperation.composed(missed[last...].map(\.operation)) {
            steps.append(.init(revision: revision, operation: operation, acknowledges: nil))
        }
        return .steps(steps)
    }

    /// The entries that lead from a revision, which must be kept, to the newest one.
    func entries(after start: Int) throws -> [LogEntry] {
        guard start < revision else { return [] }
        if let first = recent.first, first.revision <= start + 1 { return Array(recent[(start + 1 - first.revision)...]) }
        return try storage.entries(after: start)
    }

    private mutating func compact(at now: Int64) throws {
        try storage.save(snapshot: (revision, document.text))
        snapshotRevision = revision
        try storage.dropEntries(keeping: retention.entriesMax, byteCount: retention.byteCountMax, at: now)
        oldestRevision = try storage.oldestRevision() ?? revision
    }
}
