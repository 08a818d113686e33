internal import Glibc
internal import Synchronization
internal import System

/// Writes records to a descriptor from a thread of its own. A reader that is too slow costs records, which are counted,
/// never the time of those that log.
package final class LogWriter: LogSink {
    package enum Format: Sendable { case text, json }

    private struct State {
        var bytes: [UInt8] = []
        var dropped = 0
        var isIdle = true
    }

    /// What may wait to be written.
    private static let pendingBytesMax = 1 << 20

    private let isJSON: Atomic<Bool>
    private let descriptor: Int32
    private let state = Mutex(State())
    private let available = Semaphore()
    private let drained = Semaphore()

    /// - Parameter descriptor: stays the caller's.
    package init(descriptor: Int32, format: Format) {
        isJSON = Atomic(format == .json)
        self.descriptor = descriptor
        SystemThread(name: "edge-log") { [self] in while true { writeNext() } }.start()
    }

    /// The form of records from now on.
    package func setFormat(_ format: Format) { isJSON.store(format == .json, ordering: .relaxed) }

    package func write(_ record: LogRecord) {
        let line = isJSON.load(ordering: .relaxed) ? record.json : record.text
        let mustWake = state.withLock { state -> Bool in
            guard state.bytes.count + line.utf8.count <= Self.pendingBytesMax else {
                state.dropped += 1
                return false
            }
            state.bytes.append(contentsOf: line.utf8)
            state.bytes.append(0x0A)
            defer { state.isIdle = false }
            return state.isIdle
        }
        if mustWake { available.signal() }
    }

    /// Returns when everything that was logged before is written. For the end of the process.
    package func flush() {
        while !state.withLock({ $0.isIdle && $0.bytes.isEmpty }) { usleep(1000) }
    }

    private func writeNext() {
        available.wait()
        while true {
            let (bytes, dropped) = state.withLock { state -> ([UInt8], Int) in
                defer {
                    state.bytes = []
                    state.dropped = 0
                }
                return (state.bytes, state.dropped)
            }
            writeAll(bytes)
            if dropped > 0 { writeAll(Array("\(dropped) log records were dropped: the log's reader is too slow\n".utf8)) }
            let isDone = state.withLock { state in
                state.isIdle = state.bytes.isEmpty
                return state.isIdle
            }
            if isDone { return }
        }
    }

    private func writeAll(_ bytes: [UInt8]) {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: reads only the bytes of the array behind `done`.
                unsafe Glibc.write(descriptor, buffer.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                return  // Nobody reads the log: there is nowhere to say so.
            }
        }
    }
}

extension LogRecord {
    /// `12:04:31.207 warning message  name=value name=value`
    var text: String {
        let milliseconds = ((time.milliseconds % 86_400_000) + 86_400_000) % 86_400_000
        func padded(_ value: Int64, _ count: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, count - digits.count)) + digits
        }
        let clock =
            "\(padded(milliseconds / 3_600_000, 2)):\(padded(milliseconds / 60_000 % 60, 2)):"
            + "\(padded(milliseconds / 1000 % 60, 2)).\(padded(milliseconds % 1000, 3))"
        let line = fields.reduce("\(clock) \(level) \(message)") { line, field in
            line + (line.hasSuffix(message) ? "  " : " ") + "\(field.name)=\(Self.quoted(field.value))"
        }
        return Self.printable(line)
    }

    /// One JSON object: `time` (milliseconds since 1970), `level`, `message`, then the fields.
    var json: String {
        var line = "{\"time\":\(time.milliseconds),\"level\":\"\(level)\",\"message\":\(Self.jsonText(message))"
        for field in fields { line += ",\(Self.jsonText(field.name)):\(Self.jsonText(field.value))" }
        return line + "}"
    }

    private static func quoted(_ value: String) -> String {
        value.isEmpty || value.contains(" ") ? jsonText(value) : value
    }

    /// A record is one line, whatever a handler logs, and moves no terminal's cursor.
    private static func printable(_ line: String) -> String {
        guard line.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else { return line }
        return line.unicodeScalars.reduce(into: "") { text, scalar in
            if scalar == "\n" {
                text += "\n    "
            } else if scalar.value < 0x20 && scalar != "\t" || scalar.value == 0x7F {
                text += "\u{FFFD}"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
    }

    static func jsonText(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}
