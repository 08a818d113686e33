internal import HTTP
internal import Zlib

/// Undoes the compression of a peer's messages, each on its own. It holds memory only while one arrives.
final class MessageInflater: WebSocketInflater {
    private var inflater: RawInflater?

    /// What a sender leaves out at the end of a message (RFC 7692 §7.2.2).
    static let tail: [UInt8] = [0x00, 0x00, 0xFF, 0xFF]

    func inflate(
        _ bytes: [UInt8], isEnd: Bool, into plain: inout [UInt8], upTo byteCountMax: Int
    ) -> WebSocketInflation {
        guard let inflater = inflater ?? RawInflater() else { return .tooLarge }
        self.inflater = isEnd ? nil : inflater
        return switch inflater.inflate(isEnd ? Self.tail : bytes, into: &plain, upTo: byteCountMax) {
        case .done: .done
        case .tooLarge: .tooLarge
        case .malformed: .malformed
        }
    }
}

extension PerMessageDeflate {
    /// Below this, compressing costs more than it saves.
    static let byteCountMin = 256
    /// Fast: it runs on a reactor.
    private static let level = 1

    /// - Returns: `nil` when `message` is better sent as it is.
    func compress(_ message: [UInt8]) -> [UInt8]? {
        guard message.count >= Self.byteCountMin,
            var encoded = RawDeflate.encode(message, level: Self.level, windowBits: windowBits),
            encoded.count - MessageInflater.tail.count < message.count
        else { return nil }
        encoded.removeLast(MessageInflater.tail.count)
        return encoded
    }
}
