internal import HTTP
internal import Host
internal import System

extension TraceEvent {
    /// A text as others may read it: without the worker's secrets.
    func shown(_ text: String) -> String { worker.redactor?.redact(text) ?? text }

    /// The message of the protocol `trace-v1`.
    var json: JSON {
        .object([
            "outcome": .string(outcome.rawValue),
            "scriptName": .string(worker.name),
            "scriptVersion": .object([
                "id": .string(worker.version), "tag": worker.versionTag.isEmpty ? nil : .string(worker.versionTag),
            ]),
            "entrypoint": entrypoint.map { .string($0) },
            "durableObjectId": objectID.map { .string($0) },
            "exceptions": .array(exceptions.map(json)),
            "logs": .array(logs.map(json)),
            "eventTimestamp": .integer(started.milliseconds),
            "event": causeJSON,
            "wallTime": .integer(duration.wholeMilliseconds),
            "truncated": .bool(isTruncated),
            "executionModel": objectID == nil ? "stateless" : "durableObject",
            "diagnosticsChannelEvents": .array([]),
            "traceId": span.map { .string($0.traceID) },
            "spanId": span.map { .string($0.spanID) },
            "parentSpanId": span?.parentSpanID.map { .string($0) },
        ])
    }

    /// The part of the worker that the event was for, where it is not all of it: the product has classes of objects among them.
    private var entrypoint: String? {
        switch target {
        case .worker: nil
        case .entrypoint(let name): name.isEmpty ? "default" : name
        case .object(_, let className): className
        }
    }

    private var objectID: String? { if case .object(let id, _) = target { "\(id)" } else { nil } }

    private func json(_ exception: Exception) -> JSON {
        .object([
            "name": .string(shown(exception.name)), "message": .string(shown(exception.message)),
            "timestamp": .integer(exception.time.milliseconds),
        ])
    }

    private func json(_ log: Log) -> JSON {
        var message = [JSON.string(shown(log.text))]
        if !log.fields.isEmpty {
            message.append(
                .object(log.fields.map { JSON.Member(name: shown($0.name), value: .string(shown($0.value))) }))
        }
        return .object([
            "message": .array(message), "level": .string(log.level.rawValue), "timestamp": .integer(log.time.milliseconds),
        ])
    }

    private var causeJSON: JSON {
        switch cause {
        case .fetch(let request):
            .object([
                "request": .object([
                    "url": .string(Redaction.url(shown(request.url))), "method": .string(request.method),
                    "headers": headersJSON(request), "cf": .object(["colo": .string(worker.colo)]),
                ]),
                "response": status.map { .object(["status": .integer(Int64($0))]) },
            ])
        case .scheduled(let cron, let time):
            .object(["cron": .string(cron), "scheduledTime": .integer(time.milliseconds)])
        case .queue(let queue, let batchSize):
            .object(["queue": .string(queue), "batchSize": .integer(Int64(batchSize))])
        // As text, which is how the product's client tells it from a cron's.
        case .alarm(let time): .object(["scheduledTime": .string(Self.time(time))])
        case .rpc(let method): .object(["rpcMethod": .string(method)])
        case .socket(let event): .object(["getWebSocketEvent": Self.json(event)])
        }
    }

    private static func time(_ time: UnixTime) -> String {
        let fraction = String(1000 + (time.milliseconds % 1000 + 1000) % 1000).dropFirst()
        return HTTPDate(unixSeconds: time.seconds).iso8601.dropLast() + ".\(fraction)Z"
    }

    private static func json(_ event: SocketEvent) -> JSON {
        switch event {
        case .message: .object(["webSocketEventType": "message"])
        case .close(let code, let wasClean):
            .object([
                "webSocketEventType": "close", "code": .integer(Int64(code ?? 1005)), "wasClean": .bool(wasClean),
            ])
        case .error: .object(["webSocketEventType": "error"])
        }
    }

    /// Those of one name as one, as handlers see them.
    private func headersJSON(_ request: Request) -> JSON {
        var members: [(name: String, value: String)] = []
        var places: [String: Int] = [:]
        for header in request.headers {
            let value = Redaction.hides(header: header.name) ? Redaction.replacement : shown(header.value)
            if let place = places[header.name] {
                if members[place].value != Redaction.replacement { members[place].value += ", " + value }
            } else {
                places[header.name] = members.count
                members.append((header.name, value))
            }
        }
        return .object(members.map { JSON.Member(name: $0.name, value: .string($0.value)) })
    }
}

/// What of a request is nobody's business, by its form (spec runtime.md §6).
enum Redaction {
    static let replacement = "REDACTED"

    /// - Parameter name: In lower case.
    static func hides(header name: String) -> Bool {
        name == "cookie" || name == "set-cookie"
            || ["auth", "key", "secret", "token", "jwt"].contains { name.contains($0) }
    }

    /// The URL without what looks like an id: 32 hexadecimal digits or more, or 21 signs of base64 or more among which are two
    /// capitals, two small letters and two digits.
    static func url(_ url: String) -> String {
        var result: [UInt8] = []
        var run = Run()
        func end() {
            if run.looksLikeID { result += replacement.utf8 } else { result += run.bytes }
            run = Run()
        }
        for byte in url.utf8 {
            if run.take(byte) { continue }
            end()
            result.append(byte)
        }
        end()
        return String(decoding: result, as: UTF8.self)
    }

    private struct Run {
        var bytes: [UInt8] = []
        private var hexCount = 0
        private var otherCount = 0
        private var capitalCount = 0
        private var smallCount = 0
        private var digitCount = 0

        /// - Returns: false for what is no sign of an id.
        mutating func take(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                digitCount += 1
                hexCount += 1
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                capitalCount += 1
                if byte <= UInt8(ascii: "F") { hexCount += 1 } else { otherCount += 1 }
            case UInt8(ascii: "a")...UInt8(ascii: "z"):
                smallCount += 1
                if byte <= UInt8(ascii: "f") { hexCount += 1 } else { otherCount += 1 }
            case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "_"): break
            default: return false
            }
            bytes.append(byte)
            return true
        }

        var looksLikeID: Bool {
            hexCount >= 32 && otherCount == 0
                || bytes.count >= 21 && capitalCount >= 2 && smallCount >= 2 && digitCount >= 2
        }
    }
}
