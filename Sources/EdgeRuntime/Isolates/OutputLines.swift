/// Cuts what an isolate writes to standard error into lines, each of bounded length, and without
/// characters that could command a terminal.
struct OutputLines {
    static let lineBytesMax = 4096
    private var pending: [UInt8] = []
    private var isCut = false

    /// Takes `bytes` and returns the lines that they complete.
    mutating func take(_ bytes: ArraySlice<UInt8>) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                lines.append(finishLine())
            } else if pending.count < Self.lineBytesMax {
                pending.append(byte)
            } else {
                isCut = true
            }
        }
        return lines
    }

    /// What came after the last end of line, at the end of the stream.
    mutating func takeRest() -> String? { pending.isEmpty ? nil : finishLine() }

    private mutating func finishLine() -> String {
        var line = ""
        for scalar in String(decoding: pending, as: UTF8.self).unicodeScalars {
            // C0 and C1 controls, but for the tab.
            let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
            line.unicodeScalars.append(isControl && scalar != "\t" ? "\u{fffd}" : scalar)
        }
        if isCut { line += "…" }
        pending.removeAll(keepingCapacity: true)
        isCut = false
        return line
    }
}

/// How much of an isolate's standard error the node reads. What comes faster fills the pipe, and is then
/// lost to the isolate: its end of the pipe doesn't block.
struct OutputBudget {
    /// A crash report fits at once; a steady flood costs the node next to nothing.
    static let burstBytes = 64 * 1024
    static let bytesPerSecond = 32 * 1024
    private(set) var bytes = burstBytes

    mutating func spend(_ count: Int) { bytes = max(0, bytes - count) }

    mutating func refill(milliseconds: Int) {
        bytes = min(Self.burstBytes, bytes + Self.bytesPerSecond * milliseconds / 1000)
    }
}
