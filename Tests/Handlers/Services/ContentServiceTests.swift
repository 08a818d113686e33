import Platform
import Testing
import Workers

@testable import ContentService

@Suite struct `Content` {
    private static let now: Int64 = 1_800_000_000_000

    private func author(_ platform: PlatformDatabase, _ name: String = "alice") async throws -> String {
        let id = Identifier(now: Self.now).text
        _ = try await platform.database.prepare(
            """
            INSERT INTO users (id, email, username, password_hash, created_at, updated_at)
            VALUES (?1, ?2, ?3, ?4, 1, 1)
            """
        ).bind(id, name + "@b.co", name, String(repeating: "x", count: 60)).run()
        return id
    }

    private func record(_ user: String, at time: Int64, _ status: ContentStatus = .draft) -> ContentRecord {
        ContentRecord(
            id: Identifier(now: time).text, userID: user, title: "t", body: "b", type: .post, status: status,
            version: 1, createdAt: time, updatedAt: time)
    }

    private func event(_ type: EventType, _ record: ContentRecord) -> DomainEvent {
        DomainEvent(type, at: Self.now, actor: record.userID, subject: record.id)
    }

    private func outboxCount(_ platform: PlatformDatabase) async throws -> Int64? {
        try await platform.database.prepare("SELECT count(*) AS n FROM content_outbox").first("n")?.integer
    }

    @Test func `and its event are stored together`() async throws {
        let platform = try await PlatformDatabase()
        let contents = ContentRepository(platform.database)
        let record = record(try await author(platform), at: Self.now)
        let created = event(.contentCreated, record)
        try await contents.insert(record, event: created)
        #expect(try await contents.find(record.id)?.title == "t")
        #expect(try await outboxCount(platform) == 1)
        // The same event again: neither row nor event.
        await #expect(throws: (any Error).self) {
            try await contents.insert(self.record(record.userID, at: Self.now), event: created)
        }
        #expect(try await outboxCount(platform) == 1)
    }

    @Test func `changes only from the version that was read`() async throws {
        let platform = try await PlatformDatabase()
        let contents = ContentRepository(platform.database)
        var record = record(try await author(platform), at: Self.now)
        try await contents.insert(record, event: event(.contentCreated, record))
        record.title = "first"
        #expect(try await contents.update(record, event: event(.contentUpdated, record))?.version == 2)
        record.title = "second"
        #expect(try await contents.update(record, event: event(.contentUpdated, record)) == nil)
        #expect(try await contents.find(record.id)?.title == "first")
        #expect(try await outboxCount(platform) == 2)
    }

    @Test func `is deleted once`() async throws {
        let platform = try await PlatformDatabase()
        let contents = ContentRepository(platform.database)
        let record = record(try await author(platform), at: Self.now)
        try await contents.insert(record, event: event(.contentCreated, record))
        // The image that it got after it was read is told, so that it can be deleted as well.
        var changed = record
        (changed.mediaKey, changed.mediaType, changed.mediaByteCount) = ("k", "image/png", 1)
        #expect(try await !contents.holds(mediaKey: "k", of: record.id))
        _ = try await contents.update(changed, event: event(.mediaUploaded, changed))
        #expect(try await contents.holds(mediaKey: "k", of: record.id))
        #expect(try await !contents.holds(mediaKey: "other", of: record.id))
        let deleted = try await contents.delete(record.id, event: event(.contentDeleted, record))
        #expect(deleted?.mediaKey == "k")
        #expect(try await contents.delete(record.id, event: event(.contentDeleted, record)) == nil)
        #expect(try await contents.find(record.id) == nil)
        #expect(try await outboxCount(platform) == 3)
    }

    @Test func `leaves events that are read in pages, past those that can't be`() async throws {
        let platform = try await PlatformDatabase()
        let rows = OutboxRows(platform.database)
        var ids: [String] = []
        func add(_ time: Int64, _ id: String, _ text: String) async throws {
            try await platform.database.prepare("INSERT INTO content_outbox VALUES (?1, ?2, ?3)")
                .bind(id, text, time).run()
        }
        // More unreadable rows than a page holds, and all of them older than the others.
        for index in 0..<60 {
            try await add(1, Identifier(now: 1).text, index % 2 == 0 ? "[]" : #"{"schema":1}"#)
        }
        for index in 0..<130 {
            let event = DomainEvent(.contentCreated, at: Int64(2 + index / 7), actor: nil, subject: "s")
            ids.append(event.id)
            try await add(event.occurredAt, event.id, try JSONText.of(event))
        }
        let young = DomainEvent(.contentCreated, at: 1000, actor: nil, subject: "s")
        try await add(1000, young.id, try JSONText.of(young))

        var (seen, unreadable): ([String], [String]) = ([], [])
        var place: OutboxRows.Place? = .start
        while let from = place {
            let page = try await rows.page(after: from, before: 1000)
            seen += page.events.map(\.id)
            unreadable += page.unreadable
            try await rows.delete(page.events.map(\.id))
            place = page.next
        }
        #expect(seen.sorted() == ids.sorted())
        #expect(Set(unreadable).count == 60 && unreadable.count == 60)
        #expect(try await outboxCount(platform) == 61)
    }

    @Test func `is listed in pages, the newest first, each once`() async throws {
        let platform = try await PlatformDatabase()
        let contents = ContentRepository(platform.database)
        let (alice, bob) = (try await author(platform), try await author(platform, "bob"))
        for index in 0..<25 {
            // Several share a millisecond: the id decides then.
            let status: ContentStatus = index % 5 == 0 ? .published : .draft
            let mine = record(alice, at: Self.now + Int64(index / 4), status)
            try await contents.insert(mine, event: event(.contentCreated, mine))
            let other = record(bob, at: Self.now + Int64(index / 4), status)
            try await contents.insert(other, event: event(.contentCreated, other))
        }
        for (filter, expected) in [
            (ContentRepository.Filter(scope: .mine, user: alice), 25),
            (ContentRepository.Filter(scope: .mine, user: alice, status: .published), 5),
            (ContentRepository.Filter(scope: .mine, user: alice, status: .draft, type: .post), 20),
            (ContentRepository.Filter(scope: .mine, user: alice, type: .video), 0),
            (ContentRepository.Filter(scope: .public, user: alice), 10),
            (ContentRepository.Filter(scope: .public, user: alice, status: .draft), 0),
        ] {
            var cursor: PageCursor?
            var seen: [ContentRecord] = []
            repeat {
                let page = try await contents.list(filter, after: cursor, limit: 3)
                seen += page
                cursor = page.count < 3 ? nil : page.last.map { PageCursor(time: $0.createdAt, id: $0.id) }
            } while cursor != nil
            #expect(seen.count == expected && Set(seen.map(\.id)).count == expected)
            #expect(seen.map(\.createdAt) == seen.map(\.createdAt).sorted(by: >))
            if filter.scope == .mine { #expect(seen.allSatisfy { $0.userID == alice }) }
        }
    }

    @Test func `is seen and changed by whom it concerns`() {
        let owner = Identity(userID: Identifier(now: 1).text, role: .user, sessionID: "s")
        let other = Identity(userID: Identifier(now: 2).text, role: .user, sessionID: "s")
        let admin = Identity(userID: Identifier(now: 3).text, role: .admin, sessionID: "s")
        for status in ContentStatus.allCases {
            let record = record(owner.userID, at: 1, status)
            #expect(record.isVisible(to: owner) && record.isWritable(by: owner))
            #expect(record.isVisible(to: admin) && record.isWritable(by: admin))
            #expect(record.isVisible(to: other) == (status == .published))
            #expect(!record.isWritable(by: other))
        }
    }
}
