internal import FoundationEssentials
internal import Host
internal import Releases
internal import Stores

/// Requests about buckets, below `/client/v4/accounts/ACCOUNT/`, where an account is a tenant:
///
///     r2/buckets/BUCKET/{lifecycle,lock,usage,limits}
///     r2/{usage,limits}                        ours: of all buckets together; limits are ours in any case
///     event_notifications/r2/BUCKET/configuration[/queues/QUEUE]
///     r2/verification[?checksums=true]         ours: GET looks for damage, POST also repairs what loses nothing
struct BucketRequest {
    let account: String
    let subject: BucketAdministration.Subject

    private static let bodyBytesMax = 4 << 20

    /// `nil` for another path.
    init?(_ request: LocalRequest) {
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map { String($0) }
        guard parts.count >= 6, parts[0] == "client", parts[1] == "v4", parts[2] == "accounts" else { return nil }
        account = parts[3]
        let rest = Array(parts[4...])
        switch (rest.count, rest[0], rest[1]) {
        case (2, "r2", "usage"): subject = .usage(bucket: nil)
        case (2, "r2", "limits"): subject = .limits(bucket: nil)
        case (2, "r2", "verification"):
            subject = .verification(checksums: QueryParameters(request.query)["checksums"] == "true")
        case (4, "r2", "buckets"):
            switch rest[3] {
            case "lifecycle": subject = .lifecycle(bucket: rest[2])
            case "lock": subject = .lock(bucket: rest[2])
            case "usage": subject = .usage(bucket: rest[2])
            case "limits": subject = .limits(bucket: rest[2])
            default: return nil
            }
        case (4, "event_notifications", "r2") where rest[3] == "configuration":
            subject = .notifications(bucket: rest[2], queue: nil)
        case (6, "event_notifications", "r2") where rest[3] == "configuration" && rest[4] == "queues":
            subject = .notifications(bucket: rest[2], queue: rest[5])
        default: return nil
        }
    }

    func answer(_ request: LocalRequest, _ runners: [ReleaseRunner]) async -> LocalResponse {
        guard let runner = runners.first(where: { $0.tenant == account }) else {
            return Self.failure(404, 7003, "Could not route to \(request.path), perhaps your object identifier is invalid?")
        }
        let actions: [String: BucketAdministration.Action] = ["GET": .get, "PUT": .put, "DELETE": .delete, "POST": .post]
        guard let body = await Self.read(request) else { return Self.failure(413, 10001, "The request body is too large") }
        do throws(BucketAdministration.Refusal) {
            guard let action = actions[request.method],
                let result = try await runner.buckets.answer(subject, action, body: body)
            else { return Self.failure(405, 10405, "Method not allowed for this authentication scheme") }
            return .json(
                #"{"success":true,"errors":[],"messages":[],"result":"# + String(decoding: result, as: UTF8.self) + "}\n")
        } catch { return Self.failure(error.status, error.code, error.message) }
    }

    /// `nil` when it is too large or broken off.
    private static func read(_ request: LocalRequest) async -> [UInt8]? {
        var bytes: [UInt8] = []
        do {
            while let piece = try await request.body?.next() {
                bytes += piece
                guard bytes.count <= bodyBytesMax else {
                    request.body?.cancel()
                    return nil
                }
            }
        } catch { return nil }
        return bytes
    }

    private static func failure(_ status: Int, _ code: Int, _ message: String) -> LocalResponse {
        let quoted = (try? JSONEncoder().encode(message)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
        return .json(
            #"{"success":false,"errors":[{"code":"# + "\(code)" + #","message":"# + quoted
                + #"}],"messages":[],"result":null}"# + "\n", status: status)
    }
}
