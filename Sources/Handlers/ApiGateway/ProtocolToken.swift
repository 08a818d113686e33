import Platform
import Workers

/// The access token of a browser's WebSocket. A page can't set `Authorization` there, but it can offer protocols: the token comes as
/// `bearer.TOKEN` among them. It is never the one that is chosen, and goes no further than the gateway.
enum ProtocolToken {
    private static let prefix = "bearer."
    private static let header = "sec-websocket-protocol"

    /// The value that `Authorization` has or would have.
    static func authorization(of request: Request) -> String? {
        if let authorization = request.headers["authorization"] { return authorization }
        guard request.headers["upgrade"]?.lowercased() == "websocket" else { return nil }
        return offered(request.headers[header]).first { $0.hasPrefix(prefix) }.map {
            "Bearer " + $0.dropFirst(prefix.utf8.count)
        }
    }

    static func remove(from headers: inout HeaderChanges) {
        let kept = offered(headers[header]).filter { !$0.hasPrefix(prefix) }
        headers[header] = kept.isEmpty ? nil : kept.joined(separator: ", ")
    }

    private static func offered(_ value: String?) -> [String] {
        (value ?? "").split(separator: ",").map { String($0).trimmingWhitespace() }
    }
}
