internal import Observability
package import TenantSQL

// The past of a database is kept as that of a durable object is: see `HistoryArchive`.
package typealias D1Bookmark = HistoryBookmark
package typealias D1PointInTime = HistoryPoint
package typealias D1Faults = DatabaseFaults

extension D1Failure {
    init(_ error: HistoryError) {
        switch error {
        case .invalid(let text): self.init(Self.shortened(text), code: 7400)
        case .damaged(let text): self.init(text)
        }
    }
}

extension D1Surroundings {
    /// In the directory `NAME.sqlite.archive`.
    var history: HistorySettings {
        let (clock, logger) = (clock, logger)
        var settings = HistorySettings(
            path: path, prefix: archivePath + "/", ownsDirectory: true, keepsPending: true, retention: limits.timeTravel,
            sizesMax: limits.archiveSizes, byteCountMin: limits.archiveBytesMin, now: { clock.wallTime() },
            warn: { what, error in logger.log(.warning, "d1: \(what)", [("error", "\(error)")]) })
        settings.faults = faults
        return settings
    }
}
