import Interfaces
import Isolates
import System
import Testing

@testable import Host

/// Plays reactors and isolates around a registry, at random, and looks whether its promises hold.
private struct RegistryModel {
    typealias Event = (number: Int, reactor: Int)

    /// One life of an object in an isolate, as the isolate sees it.
    struct Life {
        var isOpen = false
        var isClosing = false
        var events: [Event] = []
    }

    var registry: ObjectRegistry
    var random: SplitMix64
    var now = Instant(nanoseconds: 0)
    let ids: [ObjectID]
    let reactorCount = 3
    var lines: [ObjectID: [[Event]]] = [:]
    /// What was given to isolates: by isolate and object, one life at a time.
    var owners: [ObjectID: (host: IsolateID, incarnation: UInt64)] = [:]
    var lives: [ObjectID: Life] = [:]
    var wakes: [(id: ObjectID, reactor: Int)] = []
    var hosts: [IsolateID] = []
    var lastHost: UInt64 = 0
    var wanted: [Int] = []
    var retired: Set<IsolateID> = []
    var entered = 0
    var done = 0
    var lost = 0
    var refused = 0
    var lastDelivered: [ObjectID: [Int: Int]] = [:]
    var opened = 0

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        var settings = ObjectSettings()
        settings.objectsPerIsolate = 3
        settings.isolatesMax = 2
        settings.hibernateAfter = .seconds(1)
        settings.evictAfter = .seconds(3)
        registry = ObjectRegistry(settings: settings, spread: 2)
        ids = (0..<12).compactMap { number in ObjectID((0..<32).map { UInt8(($0 * 7 + number * 41) & 255) }) }
        var effects: [ObjectRegistry.Effect] = []
        registry.serve("n", by: [(1, 10_000)], at: now, &effects)
    }

    mutating func carryOut(_ effects: [ObjectRegistry.Effect]) {
        for effect in effects {
            switch effect {
            case .wake(let id, let mask):
                for reactor in 0..<reactorCount where mask & 1 << UInt64(reactor) != 0 { wakes.append((id, reactor)) }
            case .close(let id, _, let incarnation, let reason, let patience):
                guard let owner = owners[id], owner.incarnation == incarnation else { continue }
                lives[id]?.isClosing = true
                if patience == .zero, reason == .requested || reason == .codeUpdated {
                    lost += lives[id]?.events.count ?? 0
                    lives[id]?.events = []
                }
            case .refuseWaiting(let id, let mask, _):
                for reactor in 0..<reactorCount where mask & 1 << UInt64(reactor) != 0 {
                    for _ in lines[id]?[reactor] ?? [] {
                        registry.gaveUp(id, byteCount: 1)
                        refused += 1
                    }
                    lines[id]?[reactor] = []
                    var more: [ObjectRegistry.Effect] = []
                    registry.lineIsEmpty(id, of: reactor, &more)
                    carryOut(more)
                }
            case .wantIsolate(let server): wanted.append(server)
            case .kill(let host, _): exit(host)
            case .emptied(let host): exit(host)
            case .disconnect: break
            }
        }
    }

    mutating func exit(_ host: IsolateID) {
        guard hosts.contains(host) else { return }
        hosts.removeAll { $0 == host }
        for (id, owner) in owners where owner.host == host {
            lost += lives[id]?.events.count ?? 0
            lives[id] = nil
            owners[id] = nil
        }
        var effects: [ObjectRegistry.Effect] = []
        registry.hostExited(host, at: now, &effects)
        carryOut(effects)
    }

    mutating func given(_ event: Event, _ id: ObjectID, _ delivery: ObjectRegistry.Delivery) throws {
        if delivery.opens {
            // The promise: nobody else has it.
            try #require(owners[id] == nil, "two owners")
            owners[id] = (delivery.host, delivery.incarnation)
            lives[id] = Life()
            opened += 1
        }
        let owner = try #require(owners[id])
        try #require(owner.host == delivery.host && owner.incarnation == delivery.incarnation)
        try #require(lives[id]?.isClosing == false, "an event for an object that closes")
        try #require(hosts.contains(delivery.host), "an isolate that is gone")
        // The promise: one reactor's events keep their order.
        let before = lastDelivered[id, default: [:]][event.reactor] ?? -1
        try #require(event.number > before, "overtaken")
        lastDelivered[id, default: [:]][event.reactor] = event.number
        lives[id]?.events.append(event)
    }

    mutating func enter() throws {
        let id = ids[Int.random(in: 0..<ids.count, using: &random)]
        let reactor = Int.random(in: 0..<reactorCount, using: &random)
        var line = lines[id] ?? Array(repeating: [], count: reactorCount)
        let event = (entered, reactor)
        entered += 1
        var effects: [ObjectRegistry.Effect] = []
        let admission = registry.enter(
            id, in: "n", from: reactor, byteCount: 1, isLimited: true, isBehindOthers: !line[reactor].isEmpty, at: now, &effects
        )
        switch admission {
        case .deliver(let delivery): try given(event, id, delivery)
        case .wait: line[reactor].append(event)
        case .refuse: refused += 1
        }
        lines[id] = line
        carryOut(effects)
    }

    mutating func drain(_ id: ObjectID, _ reactor: Int) throws {
        while let event = lines[id]?[reactor].first {
            var effects: [ObjectRegistry.Effect] = []
            let admission = registry.readmit(id, from: reactor, byteCount: 1, at: now, &effects)
            switch admission {
            case .deliver(let delivery):
                lines[id]?[reactor].removeFirst()
                try given(event, id, delivery)
            case .wait:
                carryOut(effects)
                return
            case .refuse:
                lines[id]?[reactor].removeFirst()
                refused += 1
            }
            carryOut(effects)
        }
        var effects: [ObjectRegistry.Effect] = []
        registry.lineIsEmpty(id, of: reactor, &effects)
        carryOut(effects)
    }

    /// One thing that an isolate, the clock or an operator does.
    mutating func happen() throws {
        var effects: [ObjectRegistry.Effect] = []
        let id = ids[Int.random(in: 0..<ids.count, using: &random)]
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<35: try enter()
        case 35..<50:
            guard !wakes.isEmpty else { return }
            let wake = wakes.remove(at: Int.random(in: 0..<wakes.count, using: &random))
            try drain(wake.id, wake.reactor)
        case 50..<60:
            guard let owner = owners[id], lives[id]?.isOpen == false, lives[id]?.isClosing == false else { return }
            if Int.random(in: 0..<8, using: &random) == 0 {
                lost += lives[id]?.events.count ?? 0
                lives[id] = nil
                owners[id] = nil
                registry.openFailed(id, owner.incarnation, at: now, &effects)
            } else {
                lives[id]?.isOpen = true
                registry.opened(id, owner.incarnation, name: nil, at: now, &effects)
            }
        case 60..<80:
            guard let owner = owners[id], lives[id]?.isOpen == true, lives[id]?.events.isEmpty == false else { return }
            lives[id]?.events.removeFirst()
            done += 1
            registry.ended(id, owner.incarnation, at: now, &effects)
        case 80..<86:
            guard let owner = owners[id], let life = lives[id], life.isClosing else { return }
            let isBusy = !life.events.isEmpty || Int.random(in: 0..<3, using: &random) == 0
            let mayStay =
                registry[id].map { entry in
                    if case .closing(.hibernation, _) = entry.phase { return true }
                    if case .closing(.inactivity, _) = entry.phase { return true }
                    return false
                } ?? false
            if isBusy, mayStay {
                lives[id]?.isClosing = false
            } else {
                lost += life.events.count
                lives[id] = nil
                owners[id] = nil
            }
            registry.closed(id, owner.incarnation, isBusy: isBusy && mayStay, at: now, &effects)
        case 86..<88:
            guard let owner = owners[id], lives[id]?.isOpen == true else { return }
            lost += lives[id]?.events.count ?? 0
            lives[id] = nil
            owners[id] = nil
            _ = registry.aborted(id, by: owner.host, at: now, &effects)
        case 88..<94:
            guard let server = wanted.popLast() else { return }
            lastHost += 1
            hosts.append(IsolateID(lastHost))
            registry.hostIsReady(IsolateID(lastHost), of: server, &effects)
        case 94: if let host = hosts.randomElement(using: &random) { exit(host) }
        case 95:
            let server = Int.random(in: 1...3, using: &random)
            registry.serve("n", by: [(1, 5000), (server, 5000)], at: now, &effects)
        case 96: _ = registry.wantClosed(id, .requested, at: now, &effects)
        case 97: if let host = hosts.randomElement(using: &random) { registry.hostRetires(host, at: now, &effects) }
        default:
            now = now + .milliseconds(Int.random(in: 0...900, using: &random))
            registry.sweep(at: now, &effects)
        }
        carryOut(effects)
    }

    /// Lets everything that waits have its turn.
    mutating func settle() throws {
        for _ in 0..<2000 {
            while let wake = wakes.popLast() { try drain(wake.id, wake.reactor) }
            while let server = wanted.popLast() {
                lastHost += 1
                hosts.append(IsolateID(lastHost))
                var effects: [ObjectRegistry.Effect] = []
                registry.hostIsReady(IsolateID(lastHost), of: server, &effects)
                carryOut(effects)
            }
            for id in ids {
                guard let owner = owners[id], let life = lives[id] else { continue }
                var effects: [ObjectRegistry.Effect] = []
                if life.isClosing {
                    lost += life.events.count
                    lives[id] = nil
                    owners[id] = nil
                    registry.closed(id, owner.incarnation, isBusy: false, at: now, &effects)
                } else if !life.isOpen {
                    lives[id]?.isOpen = true
                    registry.opened(id, owner.incarnation, name: nil, at: now, &effects)
                } else if !life.events.isEmpty {
                    lives[id]?.events.removeFirst()
                    done += 1
                    registry.ended(id, owner.incarnation, at: now, &effects)
                }
                carryOut(effects)
            }
            now = now + .milliseconds(100)
            var effects: [ObjectRegistry.Effect] = []
            registry.sweep(at: now, &effects)
            carryOut(effects)
            if lines.values.allSatisfy({ $0.allSatisfy(\.isEmpty) }), lives.isEmpty { return }
        }
        Issue.record("something waits for ever")
    }
}

@Suite struct `Registry of objects` {
    @Test func `never gives an object to two, keeps the order, and loses no event`() throws {
        for seed in UInt64(0x0B1E_C700)..<0x0B1E_C700 + 60 {
            var model = RegistryModel(seed: seed)
            do {
                for _ in 0..<3000 { try model.happen() }
                try model.settle()
            } catch {
                Issue.record("seed \(seed): \(error)")
                return
            }
            #expect(model.entered == model.done + model.lost + model.refused, "seed \(seed)")
            #expect(model.opened > 20, "seed \(seed): too little happened")
            #expect(model.registry.entries.isEmpty, "seed \(seed): \(model.registry.entries.count) are left")
        }
    }

    private let id = ObjectID(Array(0..<32))

    private func registry() -> ObjectRegistry {
        var registry = ObjectRegistry(settings: ObjectSettings(), spread: 1)
        var effects: [ObjectRegistry.Effect] = []
        registry.serve("n", by: [(1, 10_000)], at: Instant(nanoseconds: 0), &effects)
        registry.hostIsReady(IsolateID(1), of: 1, &effects)
        return registry
    }

    @Test func `bounds what waits, by number, by bytes and by time`() throws {
        let id = try #require(id)
        var registry = registry()
        var effects: [ObjectRegistry.Effect] = []
        let now = Instant(nanoseconds: 0)
        func enter(_ byteCount: Int, at instant: Instant, behind: Bool = true) -> ObjectRegistry.Admission {
            registry.enter(
                id, in: "n", from: 1, byteCount: byteCount, isLimited: true, isBehindOthers: behind, at: instant, &effects)
        }
        for _ in 0..<1000 { #expect(enter(1, at: now) == .wait) }
        #expect(enter(1, at: now) == .refuse(.tooMany))
        for _ in 0..<1000 { registry.gaveUp(id, byteCount: 1) }
        #expect(enter(32 << 20, at: now) == .wait)
        #expect(enter(1, at: now) == .refuse(.tooMuch))
        registry.gaveUp(id, byteCount: 32 << 20)
        // One stays: nothing is known of an object for which nothing waits.
        for number in 0..<20_000 {
            #expect(enter(0, at: now) == .wait)
            if number > 0 { registry.gaveUp(id, byteCount: 0) }
        }
        #expect(enter(0, at: now) == .refuse(.tooOften))
        #expect(enter(0, at: now + .seconds(10)) == .wait)
    }

    @Test func `test_probe_28 a share that grows moves no object back`() {
        var generator = SplitMix64(seed: 0x28)
        let ids = (0..<1000).compactMap { _ in
            ObjectID((0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) })
        }
        var registry = registry()
        var effects: [ObjectRegistry.Effect] = []
        func moved(_ share: Int) -> Set<ObjectID> {
            registry.serve("n", by: [(1, 10_000 - share), (2, share)], at: Instant(nanoseconds: 0), &effects)
            return Set(ids.filter { registry.server(of: $0, in: "n") == 2 })
        }
        let few = moved(2000)
        #expect((160...240).contains(few.count))
        let half = moved(5000)
        #expect(few.isSubset(of: half))
        #expect(moved(10_000).count == 1000)
    }

    @Test func `hibernates what is idle, and tries again later what was held`() throws {
        let id = try #require(id)
        var registry = registry()
        var effects: [ObjectRegistry.Effect] = []
        var now = Instant(nanoseconds: 0)
        _ = registry.enter(id, in: "n", from: 0, byteCount: 1, isLimited: true, isBehindOthers: false, at: now, &effects)
        registry.opened(id, 1, name: "a", at: now, &effects)
        registry.ended(id, 1, at: now, &effects)
        now = now + .seconds(9)
        registry.sweep(at: now, &effects)
        #expect(effects.isEmpty)
        now = now + .seconds(1)
        registry.sweep(at: now, &effects)
        #expect(effects == [.close(id, host: IsolateID(1), incarnation: 1, .hibernation, patience: .zero)])
        effects = []
        registry.closed(id, 1, isBusy: true, at: now, &effects)
        for seconds in [20, 40] {
            now = now + .seconds(seconds / 2 - 1)
            registry.sweep(at: now, &effects)
            #expect(effects.isEmpty, "each attempt waits twice as long")
            now = now + .seconds(1)
            registry.sweep(at: now, &effects)
            #expect(effects == [.close(id, host: IsolateID(1), incarnation: 1, .hibernation, patience: .zero)])
            effects = []
            registry.closed(id, 1, isBusy: true, at: now, &effects)
        }
        now = now + .seconds(29)
        registry.sweep(at: now, &effects)
        #expect(effects.isEmpty)
        // Not after 80 s, but from 70 to 140 s.
        now = now + .seconds(72)
        registry.sweep(at: now, &effects)
        #expect(effects == [.close(id, host: IsolateID(1), incarnation: 1, .inactivity, patience: .zero)])
        effects = []
        registry.closed(id, 1, isBusy: false, at: now, &effects)
        #expect(registry.entries.isEmpty)
    }

    @Test func `what an earlier life says late is of no interest, also when the object was forgotten meanwhile`() throws {
        let id = try #require(id)
        var registry = registry()
        var effects: [ObjectRegistry.Effect] = []
        let now = Instant(nanoseconds: 0)
        func enter() -> ObjectRegistry.Admission {
            registry.enter(id, in: "n", from: 0, byteCount: 1, isLimited: true, isBehindOthers: false, at: now, &effects)
        }
        guard case .deliver(let first) = enter() else {
            Issue.record("there is room for it")
            return
        }
        registry.opened(id, first.incarnation, name: nil, at: now, &effects)
        #expect(registry.aborted(id, by: first.host, at: now, &effects) == first.incarnation)
        #expect(registry.entries.isEmpty)
        guard case .deliver(let second) = enter() else {
            Issue.record("there is room for it")
            return
        }
        #expect(second.incarnation > first.incarnation)
        registry.opened(id, second.incarnation, name: nil, at: now, &effects)
        registry.ended(id, first.incarnation, at: now, &effects)
        #expect(registry[id]?.inFlight == 1)
    }

    @Test func `an isolate may have as many files open as its objects can need, and the node has left`() {
        #expect(ObjectLimits.descriptorsMax(available: 1 << 20) == 16_000)
        #expect(ObjectLimits.descriptorsMin(objects: 10_000) < 16_000)
        #expect(ObjectLimits.descriptorsMax(available: 1024) == 768)
        #expect(ObjectLimits.descriptorsMin(objects: 64) <= 768)
        #expect(ObjectLimits.descriptorsMin(objects: 600) > 768)
    }
}

@Suite struct `Alarms of objects` {
    private let alarm = ObjectAlarmFixture.alarm

    /// What follows one run after the other when each throws.
    @Test func `test_probe_15 an alarm that always throws is tried again six times, ever later`() {
        var time: Int64 = 0
        var current: ObjectAlarmFixture.Alarm? = alarm
        var delays: [Int64] = []
        var counts: [Int] = []
        while let run = current {
            counts.append(run.retryCount)
            let reply = ObjectAlarmReply(.failed, nextTime: run.scheduledTime.milliseconds, failure: "no")
            current = ObjectAlarmDriver.next(run, .answered(reply), at: UnixTime(milliseconds: time), jitter: 0)
            if let current {
                delays.append(current.time.milliseconds - time)
                #expect(current.isRetry)
                time = current.time.milliseconds
            }
        }
        #expect(delays == [2000, 4000, 8000, 16_000, 32_000, 64_000])
        #expect(counts == [0, 1, 2, 3, 4, 5, 6])
    }

    @Test func `what the node couldn't deliver isn't counted`() {
        var lost = ObjectAlarmDriver.next(alarm, .lost("gone"), at: UnixTime(milliseconds: 5), jitter: 0.25)
        for _ in 0..<100 {
            lost = lost.flatMap { ObjectAlarmDriver.next($0, .lost("gone"), at: UnixTime(milliseconds: 5), jitter: 0) }
        }
        #expect(lost?.retryCount == 0)
        #expect(lost?.isRetry == true)
    }

    @Test func `an alarm that was set anew replaces the retry`() {
        let reply = ObjectAlarmReply(.failed, nextTime: 9000)
        let next = ObjectAlarmDriver.next(alarm, .answered(reply), at: UnixTime(milliseconds: 5), jitter: 0)
        #expect(next?.time == UnixTime(milliseconds: 9000))
        #expect(next?.retryCount == 0 && next?.isRetry == false)
        #expect(
            ObjectAlarmDriver.next(alarm, .answered(ObjectAlarmReply(.done)), at: UnixTime(milliseconds: 5), jitter: 0) == nil)
    }
}

import Stores

enum ObjectAlarmFixture {
    typealias Alarm = ObjectAlarm
    static let alarm = ObjectAlarm(
        object: Array(0..<32), name: nil, namespace: "n", time: UnixTime(milliseconds: 0),
        scheduledTime: UnixTime(milliseconds: 0))
}
