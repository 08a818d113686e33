internal import FoundationEssentials

/// JSON as text, with sorted keys so that equal values give equal texts.
package enum JSONText {
    /// - Throws: `EncodingError`.
    package static func of(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
