/// Something that happened, told to other services through a queue.
///
/// A consumer must expect each event at least once and in any order, and types that it doesn't know.
package struct DomainEvent: Codable, Equatable, Sendable {
    /// What this build writes. Fields are only ever added; a change of meaning gets a new number.
    package static let currentSchema = 1

    package var schema: Int
    /// The event's identity: a second delivery has the same.
    package var id: String
    /// `subject.happened`, e.g. `content.created`.
    package var type: String
    /// Milliseconds since 1970.
    package var occurredAt: Int64
    /// The user who caused it; `nil` when no user did.
    package var actorId: String?
    package var subjectId: String
    /// What consumers need without asking back; never secrets.
    package var data: [String: String]
    package var requestId: String?

    package init(
        _ type: EventType, at now: Int64, actor: String?, subject: String, data: [String: String] = [:],
        requestID: String? = nil
    ) {
        schema = Self.currentSchema
        id = Identifier(now: now).text
        self.type = type.rawValue
        occurredAt = now
        actorId = actor
        subjectId = subject
        self.data = data
        requestId = requestID
    }

    /// Why this event can't be taken in, or `nil`.
    package var flaw: String? {
        if schema != Self.currentSchema { return "schema \(schema) is not known here" }
        if Identifier(id) == nil { return "id is not a UUID" }
        if type.isEmpty || type.utf8.count > 64 { return "type has \(type.utf8.count) bytes" }
        if occurredAt <= 0 { return "occurredAt is \(occurredAt)" }
        return nil
    }
}

/// The events that the platform's services publish.
package enum EventType: String, Sendable, CaseIterable {
    case contentCreated = "content.created"
    case contentUpdated = "content.updated"
    case contentPublished = "content.published"
    case contentArchived = "content.archived"
    case contentDeleted = "content.deleted"
    case mediaUploaded = "content.media_uploaded"
}
