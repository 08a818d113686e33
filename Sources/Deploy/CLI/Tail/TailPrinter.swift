internal import ControlPlane
internal import Glibc
internal import HTTP

/// Writes events to standard output: for people, or one JSON object per line.
struct TailPrinter {
    enum Format: String, CaseIterable { case pretty, json }

    let format: Format
    /// Whether a terminal shows it.
    let hasColors: Bool

    /// - Returns: false when nobody reads any more.
    func write(_ bytes: [UInt8]) -> Bool {
        switch format {
        case .json: return Self.write(bytes + [0x0A])
        case .pretty:
            guard let event = JSON(bytes) else { return true }
            return Self.write(Array((lines(event).joined(separator: "\n") + "\n").utf8))
        }
    }

    private static func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            // SAFETY: write reads only the bytes of the slice.
            let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(1, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    // MARK: For people

    func lines(_ message: JSON) -> [String] {
        let event = message["event"]
        if let type = event?["type"]?.text, type == "overload" {
            let count = event?["dropped"]?.integer.map { " (\($0) events were dropped)" } ?? ""
            return [red(Terminal.printable(event?["message"]?.text ?? "") + count)]
        }
        var lines = [Self.title(message)]
        for log in message["logs"]?.items ?? [] {
            let level = log["level"]?.text ?? "log"
            let texts = (log["message"]?.items ?? []).map { $0.text ?? String(decoding: $0.bytes, as: UTF8.self) }
            let shown = Self.indented("(\(level)) " + texts.joined(separator: " "))
            lines += level == "error" ? shown.map(red) : shown
        }
        if message["truncated"] == true { lines.append("  (there were more logs)") }
        for exception in message["exceptions"]?.items ?? [] {
            let text = "✘ \(exception["name"]?.text ?? "Error"): \(exception["message"]?.text ?? "")"
            lines += Self.indented(text).map(red)
        }
        return lines
    }

    private static let outcomes = [
        "ok": "Ok", "canceled": "Canceled", "exception": "Exception Thrown", "exceededCpu": "Exceeded CPU Limit",
        "exceededMemory": "Exceeded Memory Limit",
    ]

    /// As wrangler has it.
    private static func title(_ message: JSON) -> String {
        let event = message["event"]
        let outcome = outcomes[message["outcome"]?.text ?? ""] ?? "Unknown"
        let time = time(message["eventTimestamp"])
        if let request = event?["request"] {
            let (method, url) = (request["method"]?.text ?? "", request["url"]?.text ?? "")
            return Terminal.printable("\(method) \(url) - \(outcome) @ \(time)")
        }
        if let cron = event?["cron"]?.text {
            return Terminal.printable("\"\(cron)\" @ \(Self.time(event?["scheduledTime"])) - \(outcome)")
        }
        if let queue = event?["queue"]?.text {
            let size = HumanText.count(event?["batchSize"]?.integer ?? 0, "message")
            return Terminal.printable("Queue \(queue) (\(size)) - \(outcome) @ \(time)")
        }
        let place = message["entrypoint"]?.text.map { $0 + "." } ?? ""
        if let method = event?["rpcMethod"]?.text {
            return Terminal.printable("\(place)\(method) - \(outcome) @ \(time)")
        }
        if event?["scheduledTime"] != nil { return Terminal.printable("\(place)alarm - \(outcome) @ \(time)") }
        if let type = event?["getWebSocketEvent"]?["webSocketEventType"]?.text {
            return Terminal.printable("\(place)webSocket:\(type) - \(outcome) @ \(time)")
        }
        return "Unknown Event - \(outcome) @ \(time)"
    }

    private static func time(_ milliseconds: JSON?) -> String {
        Output.time(HTTPDate(unixSeconds: (milliseconds?.integer ?? 0) / 1000).iso8601)
    }

    private static func indented(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map { index, line in
            (index == 0 ? "  " : "    ") + Terminal.printable(String(line))
        }
    }

    private func red(_ text: String) -> String { hasColors ? "\u{1B}[31m\(text)\u{1B}[0m" : text }
}
