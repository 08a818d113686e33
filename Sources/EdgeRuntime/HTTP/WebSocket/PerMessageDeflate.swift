/// The compression of messages as two ends agree upon it (RFC 7692). This side always begins each message anew, and asks the other
/// for the same: a connection that waits then holds no window in either direction.
package struct PerMessageDeflate: Equatable, Sendable {
    package static let name = "permessage-deflate"

    /// What this side compresses with: 9 to 15.
    package let windowBits: Int
    /// Whether the client named a limit, which then has to be repeated.
    private let repeatsServerWindowBits: Bool

    /// Takes the first offer that can be taken (RFC 7692 §5, §7).
    ///
    /// - Parameter offers: The elements of `Sec-WebSocket-Extensions`.
    /// - Returns: `nil` when there is none; messages go as they are then.
    package init?(_ offers: [String]) {
        for offer in offers {
            guard let bits = Self.serverWindowBits(offer) else { continue }
            windowBits = bits ?? 15
            repeatsServerWindowBits = bits != nil
            return
        }
        return nil
    }

    /// As it was agreed upon before.
    package init(windowBits: Int) {
        self.windowBits = windowBits
        repeatsServerWindowBits = false
    }

    /// What this side asks a server for.
    package static let offer = name + "; server_no_context_takeover; client_no_context_takeover"

    /// Reads a server's answer to `offer`. It has to begin each message anew, and has no say in what this side compresses with:
    /// that wasn't offered (RFC 7692 §7.1.1.1, §7.1.2.2).
    package init?(answer: String) {
        guard let parameters = Self.parameters(answer), parameters["server_no_context_takeover"] == .some(nil) else {
            return nil
        }
        for (key, value) in parameters {
            switch key {
            case "server_no_context_takeover", "client_no_context_takeover": guard value == nil else { return nil }
            case "server_max_window_bits": guard Self.windowBits(value) != nil else { return nil }
            default: return nil
            }
        }
        windowBits = 15
        repeatsServerWindowBits = false
    }

    /// For `Sec-WebSocket-Extensions` of the answer.
    package var answer: String {
        Self.name + "; server_no_context_takeover; client_no_context_takeover"
            + (repeatsServerWindowBits ? "; server_max_window_bits=\(windowBits)" : "")
    }

    /// - Returns: `nil` when the offer is another extension, or can't be taken; within, `nil` when it names no limit.
    private static func serverWindowBits(_ offer: String) -> Int?? {
        guard let parameters = parameters(offer) else { return nil }
        var bits: Int?
        for (key, value) in parameters {
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

    /// - Returns: `nil` when it is another extension, or names a parameter twice.
    private static func parameters(_ text: String) -> [String: String?]? {
        let parts = text.split(separator: ";", omittingEmptySubsequences: false).map { WebSocketHandshake.trimmed(String($0)) }
        guard parts.first?.lowercased() == name else { return nil }
        var parameters: [String: String?] = [:]
        for parameter in parts.dropFirst() {
            let halves = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
                WebSocketHandshake.trimmed(String($0))
            }
            guard let key = halves.first?.lowercased(), parameters[key] == nil else { return nil }
            parameters.updateValue(halves.count == 2 ? unquoted(halves[1]) : nil, forKey: key)
        }
        return parameters
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
