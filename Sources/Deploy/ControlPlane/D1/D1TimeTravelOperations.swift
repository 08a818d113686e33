internal import HTTP
internal import Releases
internal import StoresD1
internal import System

/// A database's past over REST (spec: d1, section 10).
enum D1TimeTravelOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let timestamp = APIOperation.Parameter("timestamp", .string(), "A time, as RFC 3339 writes it.")
        return [
            APIOperation(
                "GET", D1Operations.onePath + "/time_travel/bookmark", id: "d1.time_travel.bookmark",
                "The bookmark of the newest state, or of the state at a time", .account(.d1, .read), query: [timestamp],
                result: .json(.object([.required("bookmark", .string())]))
            ) { try await bookmark(D1Call($0, services)) },
            APIOperation(
                "POST", D1Operations.onePath + "/time_travel/restore", id: "d1.time_travel.restore",
                "Makes an old state the newest one", .account(.d1, .edit),
                query: [.init("bookmark", .string(), "The state with this bookmark."), timestamp],
                result: .json(
                    .object([
                        .required("bookmark", .string()), .required("previous_bookmark", .string()),
                        .required("message", .string()),
                    ]))
            ) { try await restore(D1Call($0, services)) },
        ]
    }

    private static func bookmark(_ d1: D1Call) async throws -> APIReply {
        let entry = try await d1.entry()
        let store = d1.databases.store
        let bookmark: String
        if let point = try point(d1) {
            bookmark = try await d1.stored { () throws(D1Failure) in
                try await store.timeTravelInfo(of: entry.resource, at: point).bookmark
            }
        } else {
            bookmark = try await d1.stored { () throws(D1Failure) in try await store.bookmark(of: entry.resource) }
        }
        return .result(.object(["bookmark": .string(bookmark)]))
    }

    private static func restore(_ d1: D1Call) async throws -> APIReply {
        let entry = try await d1.entry()
        let bookmark = d1.call.queryValue("bookmark").flatMap { $0.isEmpty ? nil : $0 }
        let time = try point(d1)
        guard (bookmark == nil) != (time == nil), let point = bookmark.map(D1PointInTime.bookmark) ?? time else {
            throw APIError(400, 7400, "Invalid property: give one of bookmark and timestamp")
        }
        let restored = try await d1.stored { () throws(D1Failure) in
            try await d1.databases.store.restore(entry.resource, to: point)
        }
        return .result(
            .object([
                "bookmark": .string(restored.bookmark), "previous_bookmark": .string(restored.previousBookmark),
                "message": .string(
                    "The database \(entry.name) was restored. To undo this, restore the bookmark \(restored.previousBookmark)"),
            ]))
    }

    /// The time that the call names; `nil` when it names none.
    private static func point(_ d1: D1Call) throws(APIError) -> D1PointInTime? {
        guard let text = d1.call.queryValue("timestamp"), !text.isEmpty else { return nil }
        guard let time = Timestamp(text) else {
            throw APIError(400, 7400, "Invalid timestamp: \(text.prefix(100)): expected RFC 3339, as 2030-01-31T00:00:00Z")
        }
        return .time(time.time)
    }
}

/// A time as RFC 3339 §5.6 writes it, with any fraction and any offset.
struct Timestamp {
    let time: UnixTime

    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, let base = HTTPDate(iso8601: String(decoding: bytes[..<19], as: UTF8.self).uppercased() + "Z")
        else { return nil }
        var rest = bytes[19...]
        var milliseconds: Int64 = 0
        if rest.first == UInt8(ascii: ".") {
            let digits = rest.dropFirst().prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty, digits.count <= 18 else { return nil }
            rest = rest.dropFirst(digits.count + 1)
            for place in 0..<3 { milliseconds = milliseconds * 10 + Int64(digits.dropFirst(place).first ?? 0x30) - 0x30 }
        }
        guard let offset = Self.offsetSeconds(rest) else { return nil }
        time = UnixTime(milliseconds: (base.unixSeconds - offset) * 1000 + milliseconds)
    }

    private static func offsetSeconds(_ text: ArraySlice<UInt8>) -> Int64? {
        if text.count == 1, text.first.map({ $0 | 0x20 }) == UInt8(ascii: "z") { return 0 }
        let parts = text.dropFirst().split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.map(\.count) == [2, 2], parts.joined().allSatisfy({ (0x30...0x39).contains($0) }),
            let hours = Int64(String(decoding: parts[0], as: UTF8.self)), hours < 24,
            let minutes = Int64(String(decoding: parts[1], as: UTF8.self)), minutes < 60
        else { return nil }
        switch text.first {
        case UInt8(ascii: "+"): return hours * 3600 + minutes * 60
        case UInt8(ascii: "-"): return -(hours * 3600 + minutes * 60)
        default: return nil
        }
    }
}
