import Platform
import Workers

enum ContentType: String, Codable, CaseIterable, Sendable {
    case post, article, blog, news, story, social, text, image, video, audio, ad
}

enum ContentStatus: String, Codable, CaseIterable, Sendable { case draft, published, archived }

/// A row of `content`.
struct ContentRecord: Decodable, Sendable {
    static let columns =
        "id, user_id, title, body, type, status, version, media_key, media_type, media_byte_count, media_etag, "
        + "published_at, created_at, updated_at"

    var id: String
    var userID: String
    var title: String
    var body: String
    var type: ContentType
    var status: ContentStatus
    /// Counts changes: an update holds only for the version it was made for.
    var version: Int64
    var mediaKey: String?
    var mediaType: String?
    var mediaByteCount: Int64?
    var mediaETag: String?
    /// Milliseconds since 1970: the first time it was published.
    var publishedAt: Int64?
    var createdAt: Int64
    var updatedAt: Int64

    private enum CodingKeys: String, CodingKey {
        case id, title, body, type, status, version
        case userID = "user_id"
        case mediaKey = "media_key"
        case mediaType = "media_type"
        case mediaByteCount = "media_byte_count"
        case mediaETag = "media_etag"
        case publishedAt = "published_at"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
    }

    /// Whether `identity` may read it: its author and administrators always, others what is published.
    func isVisible(to identity: Identity) -> Bool { status == .published || isWritable(by: identity) }

    func isWritable(by identity: Identity) -> Bool { userID == identity.userID || identity.role == .admin }
}

/// Content as the API shows it.
struct ContentView: Encodable {
    struct Media: Encodable {
        var url: String
        var contentType: String
        var size: Int64
        var etag: String?
    }
    var id: String
    var userId: String
    var title: String
    var body: String
    var type: ContentType
    var status: ContentStatus
    var version: Int64
    var media: Media?
    var publishedAt: String?
    var createdAt: String
    var updatedAt: String

    init(_ record: ContentRecord) {
        id = record.id
        userId = record.userID
        title = record.title
        body = record.body
        type = record.type
        status = record.status
        version = record.version
        if let type = record.mediaType, let size = record.mediaByteCount {
            media = Media(
                url: "/api/v1/content/\(record.id)/media", contentType: type, size: size,
                etag: record.mediaETag)
        }
        publishedAt = record.publishedAt.map(Timestamp.text)
        createdAt = Timestamp.text(record.createdAt)
        updatedAt = Timestamp.text(record.updatedAt)
    }
}
