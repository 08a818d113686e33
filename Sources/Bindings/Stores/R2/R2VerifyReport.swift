internal import Interfaces

/// How thoroughly a store is looked at.
package enum R2VerifyDepth: Sendable {
    /// The index, and that each file is there in its size.
    case sizes
    /// Also the bytes themselves, against the checksums: reads everything.
    case checksums
}

package enum R2Repair: Sendable {
    case none
    /// What loses nothing: leftovers go, counts and marks are put right. Damaged objects are reported and left alone.
    case leftovers
}

/// Something that should not be.
package enum R2Damage: Hashable, Sendable, CustomStringConvertible {
    /// What an entry of the index is about.
    package enum Place: Hashable, Sendable, CustomStringConvertible {
        case object(bucket: String, key: String)
        case part(upload: String, number: Int)

        package var description: String {
            switch self {
            case .object(let bucket, let key): "object \"\(key)\" in bucket \(bucket)"
            case .part(let upload, let number): "part \(number) of upload \(upload)"
            }
        }
    }

    // MARK: Data is lost

    case missingFile(Place, blob: String)
    /// Torn or cut short, or longer than it was.
    case wrongSize(Place, blob: String, expected: Int64, found: Int64)
    case wrongChecksum(Place)
    /// The bytes of a small object, or the list of a large one's pieces, which the index keeps.
    case missingContent(Place)
    case unreadableRecord(String)
    /// Another entry names the same blob: when one of them goes, the other loses its bytes. Read it, then write both anew.
    case sharedBlob(Place, blob: String)

    // MARK: Repaired on demand

    /// The index names it in an entry and not among the blobs in use: the next sweep would take it for an orphan.
    case unmarkedBlob(Place, blob: String)
    /// A file that no entry names.
    case orphanedFile(blob: String)
    /// The file of a write that never ended.
    case temporaryFile(blob: String)
    /// In use according to the index, and named by no entry.
    case strayMark(blob: String)
    /// Bytes or a list of pieces of no object.
    case strayContent(version: String)
    /// Of an upload that isn't there.
    case strayPart(upload: String, number: Int)
    /// - Parameter bucket: `nil` for the tenant's sum.
    case wrongUsage(bucket: String?)

    package var isRepairable: Bool {
        switch self {
        case .missingFile, .wrongSize, .wrongChecksum, .missingContent, .unreadableRecord, .sharedBlob: false
        case .unmarkedBlob, .orphanedFile, .temporaryFile, .strayMark, .strayContent, .strayPart, .wrongUsage: true
        }
    }

    package var description: String {
        switch self {
        case .missingFile(let place, let blob): "\(place): the file of blob \(blob) is missing"
        case .wrongSize(let place, let blob, let expected, let found):
            "\(place): the file of blob \(blob) has \(found) bytes instead of \(expected)"
        case .wrongChecksum(let place): "\(place): the bytes don't have the checksum that they were stored with"
        case .missingContent(let place): "\(place): its content is not in the index"
        case .unreadableRecord(let what): "a record can't be read: \(what)"
        case .sharedBlob(let place, let blob): "\(place): blob \(blob) belongs to another entry as well"
        case .unmarkedBlob(let place, let blob): "\(place): blob \(blob) is not marked as in use"
        case .orphanedFile(let blob): "the file of blob \(blob) belongs to nothing"
        case .temporaryFile(let blob): "the temporary file of blob \(blob) was left behind"
        case .strayMark(let blob): "blob \(blob) is marked as in use and belongs to nothing"
        case .strayContent(let version): "content of version \(version) belongs to no object"
        case .strayPart(let upload, let number): "part \(number) belongs to upload \(upload), which does not exist"
        case .wrongUsage(let bucket): "the usage of \(bucket.map { "bucket \($0)" } ?? "the tenant") is not what is there"
        }
    }
}

package struct R2VerifyReport: Equatable, Sendable {
    package var objectCount = 0
    package var partCount = 0
    package var fileCount = 0
    /// At most `damageMax` are listed; `damageCount` has them all.
    package var damage: [R2Damage] = []
    package var damageCount = 0
    package var repairedCount = 0

    package static let damageMax = 10_000

    package init() {}

    package var isSound: Bool { damageCount == 0 }

    /// - Parameter count: of all that was found, when `found` has only the first.
    mutating func add(_ found: [R2Damage], count: Int? = nil) {
        damageCount += count ?? found.count
        damage += found.prefix(max(0, Self.damageMax - damage.count))
    }
}
