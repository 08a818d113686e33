internal import Host

/// The form that all answers have: four keys, always there (spec control-plane.md §3).
enum Envelope {
    static func write(_ reply: APIReply) -> LocalResponse {
        switch reply {
        case .raw(let response): return response
        case .noResult: return response(200, result: nil, info: nil, messages: [])
        case .result(let result, let info, let messages, let status):
            return response(status, result: result, info: info, messages: messages)
        }
    }

    /// - Parameter isRepeatable: Whether the client may send the request again after a failure of ours.
    static func failure(_ error: APIError, isRepeatable: Bool) -> LocalResponse {
        let json = JSON.object([
            "success": false, "errors": .array([error.json]), "messages": .array([]), "result": .null,
        ])
        var headers = [(name: "content-type", value: "application/json")]
        if error.status == 409 || error.status >= 500 && !isRepeatable { headers.append(("x-should-retry", "false")) }
        if let seconds = error.retryAfterSeconds { headers.append(("retry-after", String(seconds))) }
        return LocalResponse(status: error.status, headers: headers, body: .bytes(json.bytes + [0x0A]))
    }

    /// The text of a success.
    static func bytes(_ result: JSON) -> [UInt8] {
        let json = JSON.object([
            "success": true, "errors": .array([]), "messages": .array([]), "result": result,
        ])
        return json.bytes + [0x0A]
    }

    private static func response(_ status: Int, result: JSON?, info: JSON?, messages: [APIError.Cause]) -> LocalResponse {
        let json = JSON.object([
            "success": true, "errors": .array([]),
            "messages": .array(messages.map { .object(["code": .integer(Int64($0.code)), "message": .string($0.message)]) }),
            "result": result, "result_info": info,
        ])
        return LocalResponse(
            status: status, headers: [("content-type", "application/json")], body: .bytes(json.bytes + [0x0A]))
    }
}
