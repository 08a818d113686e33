/// Which databases of an isolate's objects have a connection: at most so many, however many objects there are. The one that nobody
/// has used for longest gives its connection up, and gets a new one when it is used again. The loop's thread alone.
///
/// Those in a transaction and those with a cursor between its rows can't: as long as there are only such, there are more.
package final class OpenDatabases {
    /// As many as an isolate has objects by default, where no connection ever ends before its object does: with 512 KiB of pages
    /// each they have a quarter of an isolate's memory at most.
    package static let countMax = 64

    private struct Slot { weak var database: ObjectDatabase? }

    private let countMax: Int
    private var slots: [Slot] = []
    private var uses: UInt64 = 0

    package init(countMax: Int = OpenDatabases.countMax) { self.countMax = max(1, countMax) }

    @inline(__always)
    func noteUse(of database: ObjectDatabase) {
        uses &+= 1
        database.lastUse = uses
    }

    func opened(_ database: ObjectDatabase) {
        noteUse(of: database)
        slots.append(Slot(database: database))
        closeExcess(but: database)
    }

    func closed(_ database: ObjectDatabase) { slots.removeAll { $0.database == nil || $0.database === database } }

    /// When a database may be at rest that was not.
    func closeExcess(but used: ObjectDatabase? = nil) {
        guard slots.count > countMax else { return }
        slots.removeAll { $0.database == nil }
        for _ in 0..<max(0, slots.count - countMax) {
            var oldest: ObjectDatabase?
            for slot in slots {
                guard let database = slot.database, database !== used, database.isAtRest else { continue }
                if oldest.map({ database.lastUse < $0.lastUse }) ?? true { oldest = database }
            }
            guard let oldest else { return }
            oldest.disconnect()
        }
    }
}
