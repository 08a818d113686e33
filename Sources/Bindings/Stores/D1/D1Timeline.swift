internal import System

/// Counts the segments of a database's log so that no number comes twice, whatever crashes: numbers are
/// reserved in a small file before they are used. Belongs to the writer's thread.
struct D1Timeline {
    private let path: String
    private(set) var generation: UInt32
    private(set) var segment: UInt32
    /// Below this, numbers may be used without writing the file again.
    private var reserved: UInt32
    private static let reservation: UInt32 = 64

    /// Reads the file at `path`, or begins it, and starts a new segment.
    init(path: String) throws(SystemError) {
        self.path = path
        let fields = try FileSystem.read(path)?.split { $0 == " " || $0 == "\n" } ?? []
        generation = fields.count == 2 ? UInt32(fields[0]) ?? 1 : 1
        // Whatever was reserved may have been used.
        reserved = fields.count == 2 ? UInt32(fields[1]) ?? 1 : 1
        segment = reserved
        try reserve()
    }

    /// Begins the next segment.
    mutating func advance() throws(SystemError) {
        if segment + 1 >= reserved { try reserve() }
        segment += 1
    }

    private mutating func reserve() throws(SystemError) {
        let end = max(reserved, segment) &+ Self.reservation
        try FileSystem.replace(path, with: "\(generation) \(end)\n")
        reserved = end
    }
}
