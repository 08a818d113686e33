/// A request method. Methods are case-sensitive (RFC 9110 §9.1).
public struct Method: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String

    /// Any token; compare with the constants below.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// Checks the grammar, and writes `delete`, `get`, `head`, `options`, `post` and `put` in capitals, as
    /// https://fetch.spec.whatwg.org/#concept-method-normalize does.
    ///
    /// - Returns: `nil` when `text` is no token.
    public init?(validating text: String) {
        guard !text.isEmpty, text.utf8.allSatisfy(\.isTokenByte) else { return nil }
        switch text.uppercased() {
        case "GET": self = .get
        case "HEAD": self = .head
        case "POST": self = .post
        case "PUT": self = .put
        case "DELETE": self = .delete
        case "OPTIONS": self = .options
        default: self.init(rawValue: text)
        }
    }

    public static let get = Method(rawValue: "GET")
    public static let head = Method(rawValue: "HEAD")
    public static let post = Method(rawValue: "POST")
    public static let put = Method(rawValue: "PUT")
    public static let delete = Method(rawValue: "DELETE")
    public static let options = Method(rawValue: "OPTIONS")
    public static let patch = Method(rawValue: "PATCH")
    public static let trace = Method(rawValue: "TRACE")
    public static let connect = Method(rawValue: "CONNECT")

    public var description: String { rawValue }

    /// Whether the client asks for nothing but to read (RFC 9110 §9.2.1).
    public var isSafe: Bool { self == .get || self == .head || self == .options || self == .trace }
    /// Whether sending it twice means the same as sending it once (RFC 9110 §9.2.2).
    public var isIdempotent: Bool { isSafe || self == .put || self == .delete }

    /// The method's number in a fetch message.
    package var known: RequestHead.KnownMethod {
        switch self {
        case .get: .get
        case .head: .head
        case .post: .post
        case .put: .put
        case .delete: .delete
        case .options: .options
        case .patch: .patch
        default: .other
        }
    }

    /// The method with this number in a fetch message; `nil` for `.other`, whose name follows there.
    package init?(_ known: RequestHead.KnownMethod) {
        switch known {
        case .other: return nil
        case .get: self = .get
        case .head: self = .head
        case .post: self = .post
        case .put: self = .put
        case .delete: self = .delete
        case .options: self = .options
        case .patch: self = .patch
        }
    }
}
