/// An isolate that has been started, as its caller sees it. The supervisor goes on watching it until
/// `onExit`.
package struct SpawnedIsolate: Sendable {
    package let id: IsolateID
    package let processID: Int32
    /// The node's ends of the channels, by channel index: non-blocking, close-on-exec. The caller owns
    /// and closes them. Closing the first one ends a well-behaved isolate.
    package let channels: [Int32]
    package let statusPage: StatusPage
    /// By channel; each belongs to the reactor that serves the channel.
    package let ledgers: [EventLedger]
    package let usage: IsolateUsage

    package init(
        id: IsolateID, processID: Int32, channels: [Int32], statusPage: StatusPage, ledgers: [EventLedger],
        usage: IsolateUsage
    ) {
        self.id = id
        self.processID = processID
        self.channels = channels
        self.statusPage = statusPage
        self.ledgers = ledgers
        self.usage = usage
    }
}
