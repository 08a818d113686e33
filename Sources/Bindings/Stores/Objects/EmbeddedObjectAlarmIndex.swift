package import LMDB
package import Stores
package import System

/// The alarms of one tenant's objects, in one LMDB environment. Changes that wait at the same moment share one transaction.
package final class EmbeddedObjectAlarmIndex: ObjectAlarmIndex {
    private let environment: LMDBEnvironment
    private let committer: GroupCommitter
    private let tables: Tables

    private static let format = "object-alarms 1"

    /// Opens or makes the index in `directory`, whose parent must exist; blocks for the disk.
    ///
    /// - Parameter isNew: Whether there are no objects yet, and so no alarms that a new index could lack.
    package init(
        directory: String, isNew: Bool, options: LMDBEnvironment.Options = LMDBEnvironment.Options()
    ) throws {
        var options = options
        options.databasesMax = 8
        environment = try LMDBEnvironment(directory: directory, options: options)
        do {
            try environment.requireFormat(Self.format)
            tables = try Tables(environment)
            let tables = tables
            let isComplete = try environment.read { transaction throws(LMDBError) in
                try transaction.contains(Tables.complete, in: tables.marks)
            }
            if !isComplete, isNew {
                try environment.write { transaction in try transaction.put(Tables.complete, [1], in: tables.marks) }
            }
        } catch {
            environment.close()
            throw error
        }
        committer = GroupCommitter(environment, threadName: "alarm-commit")
    }

    package func isComplete(for namespace: String) -> Bool {
        // What can't be read is asked for again: that does no harm.
        let isComplete = try? environment.read { transaction throws(LMDBError) in
            if let mark = try transaction.value(of: Tables.complete(namespace), in: tables.marks) { return mark == [1] }
            return try transaction.contains(Tables.complete, in: tables.marks)
        }
        return isComplete ?? false
    }

    package func noteComplete(for namespace: String) async throws {
        let tables = tables
        try await committer.submit { transaction in
            try transaction.put(Tables.complete(namespace), [1], in: tables.marks)
        }
    }

    package func due(at time: UnixTime, max: Int) throws -> [ObjectAlarm] {
        try environment.read { transaction throws(LMDBError) in
            var found: [ObjectAlarm] = []
            try transaction.withCursor(tables.times) { cursor throws(LMDBError) in
                var hasMore = try cursor.moveToFirst()
                while hasMore, found.count < max {
                    let key = cursor.key
                    guard let place = Tables.Place(key), place.time <= time else { return }
                    // A place without a record would be damage; the object's own row would bring it back.
                    if let value = try transaction.value(of: place.object, in: tables.alarms),
                        let alarm = Tables.alarm(value, of: place.object), alarm.time == place.time
                    {
                        found.append(alarm)
                    }
                    hasMore = try cursor.moveToNext()
                }
            }
            return found
        }
    }

    package func firstTime() throws -> UnixTime? { try due(at: UnixTime(milliseconds: .max), max: 1).first?.time }

    package func alarm(of object: [UInt8]) throws -> ObjectAlarm? {
        try environment.read { transaction throws(LMDBError) in try tables.alarm(of: object, transaction) }
    }

    package func set(_ alarm: ObjectAlarm) async throws {
        let tables = tables
        try await committer.submit(byteCount: 256) { transaction in try tables.put(alarm, transaction) }
    }

    package func remove(_ object: [UInt8]) async throws {
        let tables = tables
        try await committer.submit(byteCount: 64) { transaction in try tables.remove(object, transaction) }
    }

    package func replace(_ old: ObjectAlarm, by new: ObjectAlarm?) async throws {
        let tables = tables
        try await committer.submit(byteCount: 512) { transaction in
            guard try tables.alarm(of: old.object, transaction.reading) == old else { return }
            if let new { try tables.put(new, transaction) } else { try tables.remove(old.object, transaction) }
        }
    }

    package func removeAll(of namespace: String) async throws {
        let tables = tables
        try await committer.submit { transaction in
            try transaction.put(Tables.complete(namespace), [0], in: tables.marks)
        }
        var isDone = false
        while !isDone {
            // Some at a time: a transaction has a limit.
            isDone = try await committer.submit { transaction in
                let objects = try tables.objects(of: namespace, max: 1000, transaction.reading)
                for object in objects { try tables.remove(object, transaction) }
                return objects.count < 1000
            }
        }
    }

    package func close() async { await committer.close() }
}

/// What is in the files: alarms by object, their objects by time, and whether these are all.
private struct Tables: Sendable {
    let alarms: LMDBDatabase
    let times: LMDBDatabase
    let marks: LMDBDatabase

    /// There when the index has never been lost: it has the alarms of every namespace whose own mark doesn't say otherwise.
    static let complete = Array("complete".utf8)
    /// 1: it has the namespace's alarms; 0: it lacks some.
    static func complete(_ namespace: String) -> [UInt8] { Array("complete \(namespace)".utf8) }
    private static let idByteCount = 32

    init(_ environment: LMDBEnvironment) throws {
        alarms = try environment.openDatabase("alarms")
        times = try environment.openDatabase("times")
        marks = try environment.openDatabase("marks")
    }

    struct Place {
        let time: UnixTime
        let object: [UInt8]

        init?(_ key: [UInt8]) {
            guard key.count == 8 + idByteCount else { return nil }
            // Times before 1970 are none that anybody sets: they are stored as 0.
            time = UnixTime(milliseconds: key.bigEndian(at: 0))
            object = Array(key[8...])
        }

        static func key(_ alarm: ObjectAlarm) -> [UInt8] {
            var key: [UInt8] = []
            key.append(bigEndian: max(0, alarm.time.milliseconds))
            return key + alarm.object
        }
    }

    func alarm(of object: [UInt8], _ transaction: borrowing LMDBReadTransaction) throws(LMDBError) -> ObjectAlarm? {
        try transaction.value(of: object, in: alarms).flatMap { Self.alarm($0, of: object) }
    }

    func put(_ alarm: ObjectAlarm, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        try remove(alarm.object, transaction)
        try transaction.put(alarm.object, Self.record(alarm), in: alarms)
        try transaction.put(Place.key(alarm), [1], in: times)
    }

    func remove(_ object: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        guard let old = try alarm(of: object, transaction.reading) else { return }
        _ = try transaction.delete(Place.key(old), in: times)
        _ = try transaction.delete(object, in: alarms)
    }

    func objects(
        of namespace: String, max: Int, _ transaction: borrowing LMDBReadTransaction
    ) throws(LMDBError) -> [[UInt8]] {
        try transaction.withCursor(alarms) { cursor throws(LMDBError) in
            var found: [[UInt8]] = []
            var hasMore = try cursor.moveToFirst()
            while hasMore, found.count < max {
                let key = cursor.key
                if Self.alarm(cursor.value, of: key)?.namespace == namespace { found.append(key) }
                hasMore = try cursor.moveToNext()
            }
            return found
        }
    }

    // A record: time, scheduled time (i64), tries, exponent (u32), whether it is a retry (u8), namespace and name, each behind its
    // length (u16; 65535: there is none).

    private static func record(_ alarm: ObjectAlarm) -> [UInt8] {
        var record: [UInt8] = []
        record.append(littleEndian: max(0, alarm.time.milliseconds))
        record.append(littleEndian: alarm.scheduledTime.milliseconds)
        record.append(littleEndian: UInt32(clamping: alarm.retryCount))
        record.append(littleEndian: UInt32(clamping: alarm.backoff))
        record.append(alarm.isRetry ? 1 : 0)
        append(alarm.namespace, &record)
        append(alarm.name, &record)
        return record
    }

    private static func append(_ text: String?, _ record: inout [UInt8]) {
        // A name that is too long to be kept is only not told to the alarm's handler.
        guard let text, text.utf8.count < 4096 else { return record.append(littleEndian: UInt16.max) }
        record.append(littleEndian: UInt16(text.utf8.count))
        record += Array(text.utf8)
    }

    private static func text(_ record: [UInt8], _ offset: inout Int) -> String?? {
        guard offset + 2 <= record.count else { return nil }
        let count: UInt16 = record.littleEndian(at: offset)
        offset += 2
        guard count != .max else { return .some(nil) }
        guard offset + Int(count) <= record.count else { return nil }
        defer { offset += Int(count) }
        return String(decoding: record[offset..<(offset + Int(count))], as: UTF8.self)
    }

    /// - Returns: `nil` for what is no record.
    static func alarm(_ record: [UInt8], of object: [UInt8]) -> ObjectAlarm? {
        guard record.count >= 25, object.count == idByteCount else { return nil }
        var offset = 25
        guard case .some(.some(let namespace)) = text(record, &offset), case .some(let name) = text(record, &offset) else {
            return nil
        }
        return ObjectAlarm(
            object: object, name: name, namespace: namespace, time: UnixTime(milliseconds: record.littleEndian(at: 0)),
            scheduledTime: UnixTime(milliseconds: record.littleEndian(at: 8)),
            retryCount: Int(record.littleEndian(at: 16) as UInt32), isRetry: record[24] == 1,
            backoff: Int(record.littleEndian(at: 20) as UInt32))
    }
}
