internal import Interfaces
internal import System
internal import Wire

/// What one reactor has of objects: events that wait for them, events that they have, and their WebSockets. Reactor thread only.
///
/// Events of one reactor for one object are in one line, so that they keep their order whatever they have to wait for: an event
/// that finds others waiting stands behind them.
final class ObjectLines: Ticker {
    private struct Key: Hashable {
        let space: ObjectIdentifier
        let id: ObjectID
    }

    private final class Line {
        let space: ObjectSpace
        var waiting: [ObjectEvent] = []
        var head = 0
        private(set) var running: [ObjectIdentifier: ObjectEvent] = [:]
        /// In which order they were handed over, so that they fail in it, too.
        private var order: [ObjectIdentifier: UInt64] = [:]
        private var handedCount: UInt64 = 0
        /// Answers that became WebSockets which can't hibernate.
        var sockets: [EventStream] = []
        /// Is to go on when its channel has room.
        var waitsForRoom = false

        init(_ space: ObjectSpace) { self.space = space }

        var count: Int { waiting.count - head }
        var first: ObjectEvent? { head < waiting.count ? waiting[head] : nil }
        func removeFirst() {
            head += 1
            guard head == waiting.count || head > 256 else { return }
            waiting.removeFirst(head)
            head = 0
        }
        func insertFirst(_ event: ObjectEvent) { waiting.insert(event, at: head) }

        func began(_ event: ObjectEvent) {
            handedCount += 1
            running[ObjectIdentifier(event)] = event
            order[ObjectIdentifier(event)] = handedCount
        }

        func ended(_ event: ObjectEvent) {
            running[ObjectIdentifier(event)] = nil
            order[ObjectIdentifier(event)] = nil
        }

        /// The first one that was handed over first.
        var inOrder: [ObjectEvent] {
            running.sorted { order[$0.key, default: 0] < order[$1.key, default: 0] }.map(\.value)
        }
        var isEmpty: Bool { count == 0 && running.isEmpty && sockets.isEmpty }
    }

    unowned let reactor: Reactor
    private var lines: [Key: Line] = [:]
    /// By number.
    var sockets: [UInt64: ObjectSocket] = [:]
    private var lastSocket: UInt64 = 0
    /// WebSockets of which an object is hearing something, or is about to.
    var openSocketEventCount = 0
    /// What another process has left to this one, until its connections may be used.
    var inherited: [InheritedSocket] = []
    private var isTicking = false

    init(reactor: Reactor) { self.reactor = reactor }

    func nextSocketID() -> SocketID {
        lastSocket += 1
        return SocketID(reactor: reactor.index, number: lastSocket)
    }

    private func line(_ id: ObjectID, _ space: ObjectSpace) -> Line {
        let key = Key(space: ObjectIdentifier(space), id: id)
        if let line = lines[key] { return line }
        let line = Line(space)
        lines[key] = line
        if !isTicking {
            isTicking = true
            reactor.addTicker(self)
        }
        return line
    }

    private func existingLine(_ id: ObjectID, _ space: ObjectSpace) -> Line? {
        lines[Key(space: ObjectIdentifier(space), id: id)]
    }

    private func forgetIfEmpty(_ id: ObjectID, _ line: Line) {
        guard line.isEmpty else { return }
        lines[Key(space: ObjectIdentifier(line.space), id: id)] = nil
        guard lines.isEmpty else { return }
        isTicking = false
        reactor.removeTicker(self)
    }

    // MARK: Events

    /// Gives `event` to its object, now or when that has become possible.
    func submit(_ event: ObjectEvent) {
        let line = line(event.id, event.space)
        switch event.space.enter(event, from: reactor, isBehindOthers: line.count > 0) {
        case .deliver(let delivery, let server): hand(event, delivery, server, line)
        case .wait: line.waiting.append(event)
        case .refuse(let failure): event.refuse(failure)
        }
        forgetIfEmpty(event.id, line)
    }

    /// - Returns: false when it has to wait after all.
    @discardableResult
    private func hand(
        _ event: ObjectEvent, _ delivery: ObjectRegistry.Delivery, _ server: ObjectSpace.Server, _ line: Line
    ) -> Bool {
        guard let channel = reactor.dispatcher.channel(of: delivery.host), channel.isConnected else {
            line.insertFirst(event)
            event.space.undeliver(event, delivery, from: reactor, isLost: true)
            return false
        }
        if channel.isCongested, !delivery.opens {
            line.insertFirst(event)
            event.space.undeliver(event, delivery, from: reactor, isLost: false)
            guard !line.waitsForRoom else { return false }
            line.waitsForRoom = true
            let (id, space) = (event.id, event.space)
            channel.whenRoom { [weak self, weak line] in
                line?.waitsForRoom = false
                self?.drain(id, of: space)
            }
            return false
        }
        if delivery.opens { ObjectOpening.start(event, delivery, server, on: channel) }
        line.began(event)
        event.dispatch(on: channel, delivery, server)
        return true
    }

    /// The object may take events that wait for it.
    func drain(_ id: ObjectID, of space: ObjectSpace) {
        guard let line = existingLine(id, space) else { return space.lineIsEmpty(id, of: reactor) }
        guard !line.waitsForRoom else { return }
        while let event = line.first {
            guard !event.isAbandoned else {
                line.removeFirst()
                space.gaveUp(event)
                continue
            }
            switch space.readmit(event, from: reactor) {
            case .deliver(let delivery, let server):
                line.removeFirst()
                guard hand(event, delivery, server, line) else { return }
            case .wait: return
            case .refuse(let failure):
                line.removeFirst()
                event.refuse(failure)
            }
        }
        space.lineIsEmpty(id, of: reactor)
        forgetIfEmpty(id, line)
    }

    func refuseWaiting(_ id: ObjectID, of space: ObjectSpace, _ failure: CallFailure) {
        guard let line = existingLine(id, space) else { return space.lineIsEmpty(id, of: reactor) }
        while let event = line.first {
            line.removeFirst()
            space.gaveUp(event)
            if !event.isAbandoned { event.refuse(failure) }
        }
        space.lineIsEmpty(id, of: reactor)
        forgetIfEmpty(id, line)
    }

    /// The object has answered an event, or the event is over in another way.
    func ended(_ event: ObjectEvent, _ stream: EventStream?) {
        guard let delivery = event.delivery else { return }
        event.space.ended(event.id, delivery.incarnation)
        guard let line = existingLine(event.id, event.space) else { return }
        line.ended(event)
        if let stream, stream.isSocket {
            line.sockets.removeAll { !$0.isOpen }
            line.sockets.append(stream)
        }
        forgetIfEmpty(event.id, line)
    }

    /// A life of the object is over: its events fail.
    func fail(_ id: ObjectID, of space: ObjectSpace, upTo incarnation: UInt64, _ failure: CallFailure, alsoWaiting: Bool) {
        guard let line = existingLine(id, space) else { return }
        for event in line.inOrder where event.delivery.map({ $0.incarnation <= incarnation }) ?? false {
            line.ended(event)
            event.cutOff(failure)
        }
        if alsoWaiting { refuseWaiting(id, of: space, failure) }
        forgetIfEmpty(id, line)
    }

    func closeStandardSockets(_ id: ObjectID, of space: ObjectSpace) {
        guard let line = existingLine(id, space) else { return }
        for stream in line.sockets {
            stream.closeSocket(SocketClose(code: 1012, reason: "the object is being moved: connect again"))
        }
    }

    func tick(_ now: Instant) {
        for (key, line) in lines {
            line.sockets.removeAll { !$0.isOpen }
            if line.count > 0 { removeExpired(key.id, line, now) }
            forgetIfEmpty(key.id, line)
        }
    }

    private func removeExpired(_ id: ObjectID, _ line: Line, _ now: Instant) {
        let expired = line.waiting[line.head...].filter { $0.deadline <= now || $0.isAbandoned }
        guard !expired.isEmpty else { return }
        line.waiting = line.waiting[line.head...].filter { $0.deadline > now && !$0.isAbandoned }
        line.head = 0
        let failure = ObjectFailure.refusal(.tooLong, line.space)
        for event in expired {
            line.space.gaveUp(event)
            if !event.isAbandoned { event.refuse(failure) }
        }
        if line.count == 0 { line.space.lineIsEmpty(id, of: reactor) }
    }
}
