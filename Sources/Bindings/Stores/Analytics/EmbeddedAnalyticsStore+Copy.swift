package import System

extension EmbeddedAnalyticsStore {
    /// A file of points, as far as it goes now. Later points are written behind that.
    package struct Part: Sendable {
        package let path: String
        /// Below the store's directory.
        package let name: String
        package let byteCount: Int64
    }

    /// All files, with whole records alone: what was taken so far is written first.
    package func parts() async throws(SystemError) -> [Part] {
        await flush()
        return try await reader.run { () throws(SystemError) in
            var parts: [Part] = []
            for dataset in self.datasets() {
                for segment in try self.segments(of: dataset) {
                    let file = segment.path.split(separator: "/").last.map(String.init) ?? ""
                    parts.append(Part(path: segment.path, name: "\(dataset)/\(file)", byteCount: segment.byteCount))
                }
            }
            return parts
        }
    }
}
