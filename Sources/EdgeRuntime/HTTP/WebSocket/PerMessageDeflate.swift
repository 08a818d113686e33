/// The compression of messages as two ends agree upon it (RFC 7692). This side always begins each message anew, and asks the client
/// for the same: a connection that waits then holds no window in either direction.
package struct PerMessageDeflate: Equatable, Sendable {
    package static let name = "permessage-deflate"

    /// What this side compresses with: 9 to 15.
    package let serverWindowBits: Int
    /// Whether the client named a limit, which then has to be repeated.
    private let repeatsServerWindowBits: Bool

    /// Takes the first offer that can be taken (RFC 7692 §5, §7).
    ///
    /// - Parameter offers: The elements of `Sec-WebSocket-Extensions`.
    /// - Returns: `nil` when there is none; messages go as they are then.
    package init?(_ offers: [String]) {
        for offer in offers {
            guard let bits = Self.serverWindowBits(offer) else { continue }
            serverWindowBits = bits ?? 15
            repeatsServerWindowBits = bits != nil
            return
        }
        return nil
    }

    /// For `Sec-WebSocket-Extensions` of the answer.
    package var answer: String {
        Self.name + "; server_no_context_takeover; client_no_context_takeover"
            + (repeatsServerWindowBits ? "; server_max_window_bits=\(serverWindowBits)" : "")
    }

    /// - Returns: `nil` when the offer is another extension, or can't be taken; within, `nil` when it names no limit.
    private static func serverWindowBits(_ offer: String) -> Int?? {
        let parts = offer.split(separator: ";", omittingEmptySubsequences: false).map { WebSocketHandshake.trimmed(String($0)) }
        guard parts.first?.lowercased() == name else { return nil }
        var seen: Set<String> = []
        var bits: Int?
        for parameter in parts.dropFirst() {
            let halves = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
                WebSocketHandshake.trimmed(String($0))
            }
            guard let key = halves.first?.lowercased(), seen.insert(key).inserted else { return nil }
            let value = halves.count == 2 ? unquoted(halves[1]) : nil
            switch key {
            case "server_no_context_takeover", "client_no_context_takeover": guard value == nil else { return nil }
            case "client_max_window_bits": guard value == nil || windowBits(value) != nil else { return nil }
            case "server_max_window_bits":
                // zlib writes no windows of 8 bits.
                guard let given = windowBits(value), given >= 9 else { return nil }
                bits = given
            default: return nil
            }
        }
        return .some(bits)
    }

    private static func windowBits(_ text: String?) -> Int? {
        guard let text, !text.hasPrefix("0"), !text.hasPrefix("+"), let bits = Int(text), (8...15).contains(bits) else {
            return nil
        }
        return bits
    }

    private static func unquoted(_ text: String) -> String {
        text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"") ? String(text.dropFirst().dropLast()) : text
    }
}
