/// How a tenant's durable objects are kept (spec: durable-objects, sections 5 to 7).
package struct ObjectSettings: Equatable, Sendable {
    /// What becomes of hibernating WebSockets when their object moves to another version.
    package enum DeployRule: Equatable, Sendable {
        /// They stay open: the new version gets their messages.
        case keep
        /// They are closed with 1012.
        case disconnect
    }

    /// An object that has had nothing to do for so long leaves memory, if nothing of it is lost by that.
    package var hibernateAfter = Duration.seconds(10)
    /// One that can't hibernate leaves after so long, and as much again by chance.
    package var evictAfter = Duration.seconds(70)
    package var onDeploy = DeployRule.keep
    /// How long what an object is doing may go on when another version gets it.
    package var drain = Duration.seconds(30)
    /// Live objects in one isolate: a trap resets them all.
    package var objectsPerIsolate = 64
    /// Isolates of one version for objects.
    package var isolatesMax = 32

    /// How far back an object can go; zero keeps no history.
    package var timeTravel = Duration.seconds(30 * 86_400)

    package init() {}
}

/// Product-like limits of what waits for one object; the product's own are not published.
enum ObjectLimits {
    static let waitingMax = 1000
    static let waitingBytesMax = 32 << 20
    static let waitMax = Duration.seconds(30)
    static let rateWindow = Duration.seconds(10)
    static let rateMax = 20_000
    /// Events that an object has and hasn't answered. What waits for others of them must get a place, so they are many.
    static let inFlightMax = 4096
    /// What all of a tenant's objects are being sent, or wait for, in bytes.
    static let heldBytesMax = 256 << 20
    static let socketsMax = 32_768
    static let tagsMax = 10
    static let tagLengthMax = 256
    static let attachmentBytesMax = 16_384
    static let autoResponseBytesMax = 2048
    /// Objects that move to another version at the same time.
    static let movesAtOnce = 16
    /// What an isolate has beyond an object's own time to close it.
    static let closeGrace = Duration.seconds(5)

    /// Isolates of one pool. The registry asks for no more than the settings allow, which may change while the pool is there.
    static let isolatesMax = 256

    /// Open files of an isolate for objects, whose number may change while it runs: enough for the 10,000 that may be configured, and
    /// for more than a thousand of them at once that keep a transaction or a cursor open. (The kernel's table of so many takes
    /// 128 KiB; one of 2^14 and more would be twice as large.)
    ///
    /// - Parameter available: What the node itself may have; an isolate's start needs some above the isolate's own.
    static func descriptorsMax(available: Int) -> Int { min(16_000, max(256, available - 256)) }

    /// What an isolate's objects need at least: each its lock, and four more for each database with a connection, of which there are
    /// `OpenDatabases.countMax`; and what every isolate has.
    static func descriptorsMin(objects: Int) -> Int { 256 + objects + 4 * min(objects, 64) }
}
