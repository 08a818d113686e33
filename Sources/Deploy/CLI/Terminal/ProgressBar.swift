internal import System

/// How far a transfer has come, on one line of standard error that is written anew; nothing where that is no terminal.
final class ProgressBar {
    private let title: String
    /// `nil`: not known.
    private let total: Int64?
    private let clock: any NodeClock
    private let isShown: Bool
    private let begin: Instant
    private var done: Int64 = 0
    private var isOpen = false
    private var lastDraw: Instant
    private var rate: TransferRate

    /// Often enough to look smooth, seldom enough to cost nothing.
    private static let interval = Duration.milliseconds(100)

    /// - Parameter total: In bytes; `nil` when it isn't known.
    init(_ title: String, total: Int64?, clock: any NodeClock, isShown: Bool = Terminal.isError) {
        self.title = Terminal.printable(title)
        self.total = total
        self.clock = clock
        self.isShown = isShown
        begin = clock.now()
        lastDraw = begin
        rate = TransferRate(begin)
    }

    func advance(by byteCount: Int) {
        done += Int64(byteCount)
        guard isShown else { return }
        let now = clock.now()
        rate.note(done, at: now)
        guard now - lastDraw >= Self.interval else { return }
        lastDraw = now
        isOpen = true
        Edge.show("\r" + line(now, width: Terminal.width(of: 2) ?? 80) + "\u{1B}[K")
    }

    /// Leaves the last line standing, with the average, unless all was little and quick. To be called once, also after a
    /// failure.
    func finish() {
        guard isShown, isOpen || done >= 1 << 20 else { return }
        isOpen = false
        let now = clock.now()
        rate = TransferRate(begin)
        rate.note(done, at: now)
        Edge.show("\r" + line(now, width: Terminal.width(of: 2) ?? 80) + "\u{1B}[K\n")
    }

    /// - Parameter width: Of the terminal; the bar takes what the figures leave.
    func line(_ now: Instant, width: Int) -> String {
        var figures = HumanText.bytes(done)
        var share: Double?
        if let total {
            share = total > 0 ? min(1, Double(done) / Double(total)) : 1
            figures += " / \(HumanText.bytes(total))"
        }
        if let perSecond = rate.bytesPerSecond {
            figures += "  \(HumanText.rate(perSecond))"
            if let total, done < total, perSecond >= 1 {
                figures += "  ETA \(HumanText.clock(Int64((Double(total - done) / perSecond).rounded(.up))))"
            }
        }
        guard let share else { return cut("\(title)  \(figures)", width) }
        let percent = "\(Int(share * 100)) %"
        let room = min(40, width - Terminal.columns(title) - percent.count - figures.count - 9)
        guard room >= 8 else { return cut("\(title)  \(percent)  \(figures)", width) }
        let filled = Int(Double(room) * share)
        let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: room - filled)
        return "\(title)  [\(bar)]  \(percent)  \(figures)"
    }

    private func cut(_ text: String, _ width: Int) -> String { String(text.prefix(max(0, width - 1))) }
}

/// Bytes per second over the last seconds.
struct TransferRate {
    private var samples: [(time: Instant, done: Int64)]
    private static let window = Duration.seconds(5)

    init(_ begin: Instant) { samples = [(begin, 0)] }

    mutating func note(_ done: Int64, at now: Instant) {
        // One in a tenth of a second is enough.
        if samples.count > 1, let last = samples.last, now - last.time < .milliseconds(100) { samples.removeLast() }
        samples.append((now, done))
        while samples.count > 2, now - samples[1].time > Self.window { samples.removeFirst() }
    }

    /// `nil` before anything can be said.
    var bytesPerSecond: Double? {
        guard let first = samples.first, let last = samples.last else { return nil }
        let nanoseconds = (last.time - first.time).wholeNanoseconds
        guard nanoseconds > 0 else { return nil }
        return Double(last.done - first.done) / (Double(nanoseconds) / 1e9)
    }
}
