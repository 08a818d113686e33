internal import HTTP
internal import System

/// The lines that end the head of each answer, from `Date` to where the ray stands; made once a second.
struct CachedDate {
    private var second = Int64.min
    private(set) var lines: [UInt8] = []
    /// The same for what has its own `Date`.
    let linesBehindDate = Array("Server: edge\r\nCF-Ray: ".utf8)
    /// `Date`'s value.
    var text: String { String(decoding: HTTPDate(unixSeconds: max(0, second)).bytes, as: UTF8.self) }

    mutating func update(to time: UnixTime) {
        guard time.seconds != second else { return }
        second = time.seconds
        lines =
            Array("Date: ".utf8) + HTTPDate(unixSeconds: second).bytes
            + Array("\r\nServer: edge\r\nCF-Ray: ".utf8)
    }
}

/// What one reactor has counted since it started. Reactor thread only.
package struct ReactorCounters: Sendable {
    package var connectionsAccepted = 0
    package var connectionsRefused = 0
    package var requests = 0
    package var responsesByClass = [0, 0, 0, 0, 0]
    package var retried = 0
    package var parseErrors = 0
    package var clientAborts = 0
    package var events = 0
    package var handshakes = 0
    package var handshakesResumed = 0
    package var handshakesFailed = 0
    package var http2Connections = 0
    package var http2Floods = 0

    package init() {}

    package static func + (left: Self, right: Self) -> Self {
        var sum = left
        sum.connectionsAccepted += right.connectionsAccepted
        sum.connectionsRefused += right.connectionsRefused
        sum.requests += right.requests
        for index in sum.responsesByClass.indices { sum.responsesByClass[index] += right.responsesByClass[index] }
        sum.retried += right.retried
        sum.parseErrors += right.parseErrors
        sum.clientAborts += right.clientAborts
        sum.events += right.events
        sum.handshakes += right.handshakes
        sum.handshakesResumed += right.handshakesResumed
        sum.handshakesFailed += right.handshakesFailed
        sum.http2Connections += right.http2Connections
        sum.http2Floods += right.http2Floods
        return sum
    }
}
