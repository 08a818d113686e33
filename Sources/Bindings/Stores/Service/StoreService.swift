package import Interfaces
package import System

/// One binding of one worker, ready to be called: an engine narrowed to one namespace, database, bucket or queue.
package protocol StoreService: Sendable {
    /// Answers one call.
    ///
    /// Runs on the reactor that received the call, which must not be blocked: what waits for a disk runs on the
    /// store's own threads. Memory-mapped reads run in place.
    ///
    /// - Throws: what the handler is to see. Anything else that goes wrong is logged by the store and thrown
    ///   as the product's documented internal error.
    func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply

    /// Answers a call that carries no body, if that takes no waiting; `nil` leaves it to `answer`.
    ///
    /// The reactor asks this first: a memory-mapped read then costs neither a task nor a stream.
    func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply?
}

extension StoreService {
    package func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply? { nil }
}

package struct StoreCall: Sendable {
    package var kind: CallKind
    /// The message behind kind and binding, still encoded.
    package var message: [UInt8]
    /// The bytes that follow the message, if any.
    package var body: (any BodySource)?
    /// What the event may still ask of databases; `nil` without a limit.
    package var queries: QueryAllowance?
    /// The zone of the request that the event answers; caches are told apart by it.
    package var zone: String
    /// The worker that calls, and the number of the binding that it calls by, for warnings; `nil`: nobody is warned.
    package var listener: (any LimitListener)?
    package var binding: UInt16

    package init(
        _ kind: CallKind, message: [UInt8], body: (any BodySource)? = nil, queries: QueryAllowance? = nil, zone: String = "",
        listener: (any LimitListener)? = nil, binding: UInt16 = 0
    ) {
        self.zone = zone
        self.listener = listener
        self.binding = binding
        self.queries = queries
        self.kind = kind
        self.message = message
        self.body = body
    }
}

package struct StoreReply: Sendable {
    package var message: [UInt8]
    package var body: StoreBody?

    package init(message: [UInt8], body: StoreBody? = nil) {
        self.message = message
        self.body = body
    }
}

/// A stored body on its way out.
package enum StoreBody: Sendable {
    case bytes([UInt8])
    /// A part of a file, which the node may `sendfile`. Immutable for as long as someone holds it.
    case file(FileSlice)
    case stream(any BodySource)

    package var length: Int? {
        switch self {
        case .bytes(let bytes): bytes.count
        case .file(let slice): slice.byteCount
        case .stream: nil
        }
    }
}

/// Bytes on their way in or out, pulled by whoever consumes them. One reader at a time.
package protocol BodySource: AnyObject, Sendable {
    /// The next piece, never empty; `nil` at the end.
    ///
    /// - Throws: when the sender gave up; nothing of the body may then be kept.
    func next() async throws -> [UInt8]?
    /// No more will be read.
    func cancel()
}

/// A body that lies in several files, one after the other: the node may `sendfile` each.
package protocol FileSequence: BodySource {
    /// The next file's part, never empty and open until it is dropped; `nil` at the end. Who asks for files doesn't
    /// ask for pieces as well.
    func nextFile() async throws -> FileSlice?
}

/// A range of an open file. The file's bytes never change while the slice lives.
package final class FileSlice: Sendable {
    package let descriptor: Descriptor
    package let offset: Int64
    package let byteCount: Int
    /// What the open file counts against.
    private let share: Budget.Share?

    package init(
        _ descriptor: consuming Descriptor, offset: Int64, byteCount: Int, share: Budget.Share? = nil
    ) {
        self.descriptor = descriptor
        self.offset = offset
        self.byteCount = byteCount
        self.share = share
    }
}
