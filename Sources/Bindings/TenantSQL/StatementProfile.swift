package import SQLite

/// What a prepared statement's program says about the rows it reads and writes.
///
/// The product counts rows inside a patched virtual machine; the stock library has no such counters. This is
/// an estimate from two sources: the program, read once with EXPLAIN when the statement is prepared, and what
/// the library counts when it runs (rows changed, steps of full scans, rows given).
package struct StatementProfile {
    /// Starts of scans and look-ups by key: each is one row, if it happens once.
    var seeks = 0
    /// `COUNT(*)` without visiting rows: its value is what it read.
    var fastCounts = 0
    /// Steps through a part of an index: not counted by the library, so the rows given stand for them.
    var rangeSteps = 0
    /// Writes that the library counts as a changed row, those that go with them into indexes, and those into
    /// its own tables.
    var countedWrites = 0
    var indexWrites = 0
    var uncountedWrites = 0

    package init() {}

    /// Rows read by a run that made `scanSteps` steps of full scans and gave `rows` rows.
    package func rowsRead(scanSteps: Int, rows: Int, firstCount: Int64?) -> Int64 {
        var read = Int64(seeks + scanSteps)
        if fastCounts > 0 { read += firstCount ?? 1 }
        if rangeSteps > 0 { read += Int64(max(0, rows - 1)) }
        return read
    }

    /// Rows and index entries written by a run that changed `changes` rows.
    package func rowsWritten(changes: Int64) -> Int64 {
        guard countedWrites > 0 else { return Int64(uncountedWrites) + changes }
        let (whole, rest) = (changes * Int64(indexWrites)).quotientAndRemainder(
            dividingBy: Int64(countedWrites))
        return Int64(uncountedWrites) + changes + whole + (rest * 2 >= countedWrites ? 1 : 0)
    }

    /// Adds one instruction of the program (https://www.sqlite.org/opcode.html). `temporary` are the cursors
    /// over tables that exist only while the statement runs.
    mutating func add(
        _ name: String, _ p1: Int64, _ p2: Int64, _ p5: Int64, temporary: inout Set<Int64>
    ) {
        let countsChange = Int64(1)  // OPFLAG_NCHANGE, in P5 of inserts and P2 of deletes
        switch name {
        case "OpenEphemeral", "SorterOpen", "OpenAutoindex", "OpenPseudo", "OpenDup": temporary.insert(p1)
        case "OpenRead", "OpenWrite", "ReopenIdx": temporary.remove(p1)
        case "Rewind", "Last", "SeekGE", "SeekGT", "SeekLE", "SeekLT", "SeekRowid", "NotExists", "VFilter":
            seeks += 1
        case "Count": fastCounts += 1
        case "Next" where p5 == 0 && !temporary.contains(p1), "Prev" where p5 == 0 && !temporary.contains(p1):
            rangeSteps += 1
        case "VNext": rangeSteps += 1
        case "Insert", "IdxInsert":
            guard !temporary.contains(p1) else { return }
            if p5 & countsChange != 0 {
                countedWrites += 1
            } else if name == "IdxInsert" {
                indexWrites += 1
            } else {
                uncountedWrites += 1
            }
        case "Delete" where p2 & countsChange != 0: countedWrites += 1
        case "Clear" where !temporary.contains(p1): countedWrites += 1
        default: break
        }
    }
}

extension SQLiteConnection {
    /// Reads the program of the one statement `text`; empty when it can't be explained.
    package func profile(_ text: String) -> StatementProfile {
        var profile = StatementProfile()
        guard let explanation = try? prepare("EXPLAIN " + text) else { return profile }
        var temporary: Set<Int64> = []
        while (try? explanation.step()) == true {
            // The program is followed by its sub-programs (triggers), whose numbers begin again.
            if explanation.integer(0) == 0 { temporary = [] }
            guard let name = explanation.text(1) else { continue }
            profile.add(
                name, explanation.integer(2), explanation.integer(3), explanation.integer(6),
                temporary: &temporary
            )
        }
        return profile
    }
}
