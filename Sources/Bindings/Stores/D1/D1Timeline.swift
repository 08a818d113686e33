internal import System
internal import TenantSQL

/// Counts the segments of a database's log so that no number comes twice, whatever crashes: numbers are
/// reserved in a small file before they are used. Belongs to the writer's thread.
struct D1Timeline {
    private let path: String
    private let faults: D1Faults
    private(set) var generation: UInt32
    private(set) var segment: UInt32
    /// Below this, numbers may be used without writing the file again.
    private var reserved: UInt32
    private static let reservation: UInt32 = 64

    /// Reads the file at `path`, or begins it, and starts a new segment.
    ///
    /// - Throws: `Unreadable` when the file holds something else: to begin anew would hand out bookmarks of the past.
    init(path: String, _ faults: D1Faults = .none) throws {
        self.path = path
        self.faults = faults
        generation = 1
        reserved = 1
        if let text = try FileSystem.read(path, faults) {
            let fields = text.split { $0 == " " || $0 == "\n" }
            guard fields.count == 2, let first = UInt32(fields[0]), let second = UInt32(fields[1]) else {
                throw Unreadable(path: path, found: text)
            }
            generation = first
            // Whatever was reserved may have been used.
            reserved = second
        }
        segment = reserved
        try reserve()
    }

    struct Unreadable: Error, CustomStringConvertible {
        let path: String
        let found: String

        var description: String {
            "\(path): should hold two numbers, generation and segment, but holds "
                + "\"\(found.prefix(40).filter { !$0.isNewline })\"; take the file from a backup, or write numbers into "
                + "it that are larger than those of all bookmarks in use"
        }
    }

    /// Begins the next segment.
    mutating func advance() throws(SystemError) {
        if segment + 1 >= reserved { try reserve() }
        segment += 1
    }

    /// Begins the next generation: bookmarks from now on are greater than all before.
    mutating func raiseGeneration() throws(SystemError) {
        generation += 1
        do throws(SystemError) { try reserve() } catch {
            generation -= 1
            throw error
        }
        segment = reserved - Self.reservation
    }

    private mutating func reserve() throws(SystemError) {
        let end = max(reserved, segment) &+ Self.reservation
        try FileSystem.replace(path, with: "\(generation) \(end)\n", faults)
        reserved = end
    }
}
