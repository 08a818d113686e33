internal import System

extension EmbeddedAnalyticsStore {
    /// Reads every record of every file and compares its checksum; what was taken so far is written first.
    ///
    /// - Returns: what is damaged, a sentence per file; empty when all is whole. A file of another format, or one that can't be
    ///   read, is damaged too.
    package func verify() async -> [String] {
        await flush()
        return await reader.run { [self] in
            var problems: [String] = []
            for dataset in datasets() {
                let segments: [Segment]
                do throws(SystemError) { segments = try self.segments(of: dataset) } catch {
                    problems.append("dataset \(dataset): \(error)")
                    continue
                }
                for segment in segments {
                    if let problem = Self.problem(of: segment) { problems.append("dataset \(dataset): \(problem)") }
                }
            }
            return problems
        }
    }

    private static func problem(of segment: Segment) -> String? {
        do throws(SystemError) {
            let reader = try SegmentReader(
                segment.path, byteCount: segment.byteCount, isSetAside: segment.isSetAside)
            var count = 0
            while let payload = try reader.next() {
                guard PointRecord(reader.buffer, payload) != nil else {
                    return "\(segment.path): record \(count + 1) is not a point"
                }
                count += 1
            }
            if let first = reader.damage.first {
                return
                    "\(segment.path): between \(count) whole records, \(reader.damage.count) places are damaged, the first at "
                    + "bytes \(first.lowerBound) to \(first.upperBound) of \(segment.byteCount)"
            }
            guard reader.endOfRecords < segment.byteCount else { return nil }
            return "\(segment.path): behind \(count) whole records, at byte \(reader.endOfRecords) of \(segment.byteCount), "
                + "something is torn or changed"
        } catch { return "\(error)" }
    }
}
