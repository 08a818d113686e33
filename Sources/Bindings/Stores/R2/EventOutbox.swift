internal import Interfaces
internal import LMDB
internal import Synchronization
internal import System
internal import Wire

/// Events of committed changes that have not reached their queue yet. An event is written in the transaction that makes
/// the change, and removed when its queue has it durably: no death of the process loses one, and one that comes in
/// between sends an event twice.
///
/// Queue name, 0, sequence (eight bytes, big-endian) → event. So a queue that takes nothing holds up no other.
struct EventOutbox: Sendable {
    private static let format: UInt8 = 1
    private let table: LMDBDatabase
    /// How often something was appended, in whatever became of its transaction. The committer runs one change after the
    /// other: by this number it sees which of them had something to tell.
    let appends = Counter()

    final class Counter: Sendable {
        private let number = Atomic<Int>(0)
        var value: Int { number.load(ordering: .relaxed) }
        fileprivate func add() { number.add(1, ordering: .relaxed) }
    }

    private let countMax: Int

    /// - Parameter countMax: With so many events waiting, changes that have to be told are refused.
    init(_ environment: LMDBEnvironment, countMax: Int) throws(LMDBError) {
        table = try environment.openDatabase("outbox")
        self.countMax = countMax
    }

    struct Batch: Sendable {
        var queue: String
        var keys: [[UInt8]]
        var events: [R2ObjectEvent]
    }

    /// The oldest events for the first queue whose name is greater than `queue`.
    func first(
        afterQueue queue: String?, countMax: Int, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> Batch? {
        try transaction.withCursor(table) { cursor throws(LMDBError) -> Batch? in
            guard try cursor.seek(queue.map { Array($0.utf8) + [1] } ?? []) else { return nil }
            let name = cursor.key.prefix { $0 != 0 }
            var batch = Batch(queue: String(decoding: name, as: UTF8.self), keys: [], events: [])
            let prefix = Array(name) + [0]
            var isThere = true
            while isThere, batch.keys.count < countMax, cursor.keyStarts(with: prefix) {
                batch.keys.append(cursor.key)
                batch.events.append(try Self.decode(cursor.value))
                isThere = try cursor.moveToNext()
            }
            return batch
        }
    }

    /// - Throws: `LMDBError`; `R2Failure.unavailable` when too many wait.
    func append(
        _ event: R2ObjectEvent, to queue: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws {
        guard try count(transaction.reading) < countMax else { throw R2Failure.unavailable }
        let prefix = Array(queue.utf8) + [0]
        // The last of this queue stands right before the first key that could come behind all of them.
        let last = try transaction.withCursor(table) { cursor throws(LMDBError) -> UInt64 in
            guard try cursor.seek(before: Array(queue.utf8) + [1]), cursor.keyStarts(with: prefix),
                cursor.keyByteCount == prefix.count + 8
            else { return 0 }
            return cursor.key.bigEndian(at: prefix.count)
        }
        var key = prefix
        key.append(bigEndian: last + 1)
        try transaction.put(key, Self.encode(event), in: table)
        appends.add()
    }

    func remove(_ keys: [[UInt8]], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        for key in keys { try transaction.delete(key, in: table) }
    }

    func count(_ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> Int {
        try transaction.count(of: table)
    }

    private static func encode(_ event: R2ObjectEvent) -> [UInt8] {
        var encoder = WireEncoder(capacity: 128)
        encoder.put(format)
        encoder.put(event.action.rawValue)
        encoder.put(event.bucket)
        encoder.put(event.key)
        encoder.put(event.size)
        encoder.put(event.etag)
        encoder.put(event.time)
        encoder.put(event.copySource) { encoder, source in
            encoder.put(source.bucket)
            encoder.put(source.key)
        }
        return encoder.bytes
    }

    private static func decode(_ record: [UInt8]) throws(LMDBError) -> R2ObjectEvent {
        do throws(WireError) {
            var decoder = WireDecoder(record)
            guard try decoder.takeUInt8() == format, let action = R2EventAction(rawValue: try decoder.takeString()) else {
                throw .invalidValue("event", offset: decoder.offset)
            }
            return R2ObjectEvent(
                action, bucket: try decoder.takeString(), key: try decoder.takeString(),
                size: try decoder.takeOptional { decoder throws(WireError) in try decoder.takeInt64() },
                etag: try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() },
                time: try decoder.takeInt64(),
                copySource: try decoder.takeOptional { decoder throws(WireError) in
                    R2ObjectEvent.Source(bucket: try decoder.takeString(), key: try decoder.takeString())
                })
        } catch {
            throw LMDBError("decode", .corrupted, on: "event in the outbox: \(error)")
        }
    }
}
