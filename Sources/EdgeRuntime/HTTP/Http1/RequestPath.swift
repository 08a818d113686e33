/// The path and query of a request target, before a URL is made of it.
enum RequestPath {
    /// Whether the URL standard would write these bytes differently; `nil` when they can't stand in a target:
    /// a fragment never does.
    ///
    /// - Parameter range: visible ASCII only.
    static func needsNormalizing(_ bytes: RawSpan, _ range: ByteRange) -> Bool? {
        guard !range.isEmpty else { return true }
        if range.count == 1, bytes[range.offset] == 0x2F { return false }
        var needs = bytes[range.offset] != 0x2F
        var isQuery = false
        for offset in range.range {
            switch bytes[offset] {
            case 0x23: return nil
            case 0x3F: isQuery = true
            // Encoded in paths and in queries of http URLs.
            case 0x22, 0x3C, 0x3E: needs = true
            // Encoded in queries.
            case 0x27: if isQuery { needs = true }
            // Encoded in paths; the backslash becomes a slash.
            case 0x5C, 0x5E, 0x60, 0x7B, 0x7D: if !isQuery { needs = true }
            // A segment that starts with a dot, written plainly or as %2e, may be a dot segment.
            case 0x2E:
                if !isQuery, offset > range.offset, bytes[offset - 1] == 0x2F { needs = true }
            case 0x25:
                if !isQuery, offset + 2 < range.end, bytes[offset + 1] == 0x32,
                    bytes[offset + 2] | 0x20 == 0x65
                {
                    needs = true
                }
            default: break
            }
        }
        return needs
    }
}
