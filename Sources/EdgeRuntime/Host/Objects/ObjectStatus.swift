package import System

/// What is known of one object, for the API.
package struct ObjectStatus: Equatable, Sendable {
    package enum Phase: String, Sendable {
        /// Not in memory.
        case absent
        case opening, open, closing
    }
    package var id: String
    package var name: String?
    package var phase: Phase
    /// The process that has it, and the version that this runs.
    package var processID: Int32?
    package var version: String?
    package var eventCount: Int
    package var waitingCount: Int
    package var socketCount: Int
    package var alarm: UnixTime?
    /// Of its files; 0: it has none.
    package var storedByteCount: Int

    package var hasStoredData: Bool { storedByteCount > 0 }
}

/// How many objects are in memory, and what goes on with them.
package struct ObjectCounts: Equatable, Sendable {
    package var live = 0
    package var moving = 0
    package var events = 0
    package var waiting = 0
    /// Hibernating WebSockets, whether their object is in memory or not.
    package var sockets = 0

    package init() {}
}

/// What came of giving objects to another version.
package struct ObjectMoveReport: Equatable, Sendable {
    package var objects = 0
    /// Of those, how many had to be cut off.
    package var cut = 0
    package var sockets = 0
    package var longest = Duration.zero

    package init() {}
}

package enum ObjectSpaceError: Error, Equatable, Sendable, CustomStringConvertible {
    case unknownNamespace(String)
    case badID(String)
    case stillInUse(String)
    case notClosed(Int)
    case system(String)

    package var description: String {
        switch self {
        case .unknownNamespace(let id): "there is no namespace of durable objects \"\(id)\""
        case .badID(let id): "\"\(id)\" is no id of a durable object of this namespace"
        case .stillInUse(let id): "the durable object \(id) can't be closed now"
        case .notClosed(let count): "\(count) durable objects could not be closed in time"
        case .system(let text): text
        }
    }
}
