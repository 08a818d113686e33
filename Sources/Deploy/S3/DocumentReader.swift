internal import Interfaces
internal import Stores
internal import StoresR2
internal import System
internal import XML

/// Reads the documents that requests bring: whole, so that only so many of them are in memory at once, and off the reactors,
/// which have others to serve meanwhile.
final class DocumentReader: Sendable {
    private let budget: Budget
    private let pool = BlockingPool(name: "edge-s3", threadCount: 1)

    /// A completion of 10,000 parts with their checksums, or 1,000 keys with every character escaped.
    private static let byteCountMax = 4 << 20
    /// Of all requests together.
    private static let totalBytesMax = 64 << 20
    /// What is read at once, in less time than another thread takes to hear of it.
    private static let inPlaceBytesMax = 4 << 10

    private static let tooLong = S3Error("MaxMessageLengthExceeded", 400, "Your request was too big.")

    init(clock: any NodeClock) {
        budget = Budget(Self.totalBytesMax, waitersMax: 1024, waitingDuration: .seconds(10), clock: clock)
    }

    /// The body of a request as a document with this root, compared with the checksum that the headers give.
    func read(_ root: String, of call: S3Call) async throws -> XMLElement {
        let byteCount = call.bodyByteCount ?? Int64(Self.byteCountMax)
        guard byteCount <= Int64(Self.byteCountMax) else { throw Self.tooLong }
        let share: Budget.Share
        do { share = try await budget.acquire(Int(byteCount)) } catch {
            throw S3Error("ServiceUnavailable", 503, "Please reduce your request rate.")
        }
        defer { withExtendedLifetime(share) {} }
        var bytes: [UInt8] = []
        while let piece = try await call.nextPiece() {
            bytes += piece
            guard bytes.count <= Self.byteCountMax else { throw Self.tooLong }
        }
        // That of a completion is the object's.
        let checksum = root == "CompleteMultipartUpload" ? nil : try ObjectHeaders.checksum(call.request)
        let whole = bytes
        let parse: @Sendable () throws(S3Error) -> XMLElement = { () throws(S3Error) in
            if let checksum, RunningChecksum.of(whole, checksum.algorithm) != checksum.bytes {
                throw S3Error(
                    "BadDigest", 400, "The \(checksum.algorithm.s3Name) you specified did not match what we received.")
            }
            guard let element = try? XMLReader.read(whole), element.name == root else { throw .malformedXML }
            return element
        }
        return whole.count <= Self.inPlaceBytesMax ? try parse() : try await pool.run(parse)
    }
}
