package import Wire

/// The limits of data points (spec: runtime, section 4). The isolate and the node look alike: the one to warn, the other to
/// be safe.
package enum AnalyticsLimits {
    package static let pointsPerEventMax = 250
    package static let indexesMax = 1
    package static let indexBytesMax = 96
    package static let blobsMax = 20
    /// Of all blobs of a point together.
    package static let blobBytesMax = 16 << 10
    package static let doublesMax = 20

    /// The limit that `point` breaks.
    package static func problem(of point: AnalyticsPoint) -> String? {
        if point.indexes.count > indexesMax { return "\(point.indexes.count) indexes, at most \(indexesMax) is allowed" }
        for index in point.indexes where index.utf8.count > indexBytesMax {
            return "an index of \(index.utf8.count) bytes, at most \(indexBytesMax) are allowed"
        }
        if point.blobs.count > blobsMax { return "\(point.blobs.count) blobs, at most \(blobsMax) are allowed" }
        let byteCount = point.blobs.reduce(0) { $0 + ($1?.utf8.count ?? 0) }
        if byteCount > blobBytesMax { return "blobs of \(byteCount) bytes, at most \(blobBytesMax) are allowed" }
        if point.doubles.count > doublesMax { return "\(point.doubles.count) doubles, at most \(doublesMax) are allowed" }
        return nil
    }
}

/// The message of `analyticsWrite`.
package struct AnalyticsPoint: Equatable, Sendable {
    package var indexes: [String]
    package var blobs: [String?]
    package var doubles: [Double]

    package init(indexes: [String] = [], blobs: [String?] = [], doubles: [Double] = []) {
        self.indexes = indexes
        self.blobs = blobs
        self.doubles = doubles
    }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 64)
        encode(into: &encoder)
        return encoder.bytes
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(list: indexes) { $0.put($1) }
        encoder.put(list: blobs) { $0.put($1) }
        encoder.put(list: doubles) { $0.put($1) }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        indexes = try decoder.takeList { decoder throws(WireError) in try decoder.takeString() }
        blobs = try decoder.takeList { decoder throws(WireError) in
            try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
        }
        doubles = try decoder.takeList { decoder throws(WireError) in try decoder.takeDouble() }
        try decoder.finish()
    }
}
