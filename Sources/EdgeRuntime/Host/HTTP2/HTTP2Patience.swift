internal import HTTP2

/// How much of what leads nowhere a client may still send: resets, pings, settings, empty frames, requests that it takes back.
/// Each is legal, cheap to send and costs the node something (CVE-2019-9511 … 9518, CVE-2023-44487, CVE-2025-8671). It comes
/// back with time and with what the client takes of answers, so that clients with much to do are let do it.
struct HTTP2Patience {
    private(set) var left = Self.most

    /// More than any client at work needs at once.
    static let most = 1000
    private static let perTick = 25  // A hundred a second.
    /// A client gives back two windows for a frame that it takes.
    private static let perFrameSent = 4

    var isExhausted: Bool { left <= 0 }

    mutating func charge(_ head: HTTP2FrameHead) {
        switch head.kind {
        case .ping, .settings: if !head.hasFirstFlag { left -= 1 }
        case .priority, .reset, .windowUpdate, .other: left -= 1
        case .data, .headers, .continuation: if head.payloadByteCount == 0, !head.hasFirstFlag { left -= 1 }
        }
    }

    /// A frame that was refused, or a request in vain.
    mutating func charge() { left -= 1 }

    mutating func tick() { left = min(Self.most, left + Self.perTick) }
    mutating func frameSent() { left = min(Self.most, left + Self.perFrameSent) }
}
