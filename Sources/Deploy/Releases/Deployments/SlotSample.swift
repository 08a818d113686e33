package import Host

/// What a release has done until now, or between two moments: the difference of two samples.
package struct SlotSample: Equatable, Sendable {
    /// By worker: that is what clients' requests are told apart by.
    package var workers: [String: MeterReading]

    package init(_ workers: [String: MeterReading] = [:]) { self.workers = workers }

    /// All of them together.
    package var total: MeterReading { workers.values.reduce(into: MeterReading()) { $0 += $1 } }

    package var requestCount: Int64 { workers.values.reduce(0) { $0 + $1.requestCount } }
    /// Answers of 5xx, of the host's making or of the handler's, and those that broke off.
    package var errorCount: Int64 { workers.values.reduce(0) { $0 + $1.errorCount } }

    /// A worker that `b` doesn't know had done nothing then.
    package static func - (a: SlotSample, b: SlotSample) -> SlotSample {
        var window = a
        for (worker, before) in b.workers {
            if let now = a.workers[worker] { window.workers[worker] = now - before }
        }
        return window
    }
}

extension ReleaseMeter {
    /// All that the release has done since it was made.
    package func sample() -> SlotSample { SlotSample(read()) }
}
