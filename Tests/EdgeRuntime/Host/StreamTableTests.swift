import System
import Testing

@testable import Host

private final class Item {
    let number: UInt32
    init(_ number: UInt32) { self.number = number }
}

@Suite struct `Stream table` {
    @Test func `behaves as a dictionary, for numbers that rise on both sides`() {
        let seed: UInt64 = 0x5EED_0010
        var random = SplitMix64(seed: seed)
        var table = StreamTable<Item>(ringSize: 16)
        var model: [UInt32: Item] = [:]
        var next: [UInt32] = [1, 2]
        for step in 0..<50_000 {
            let isInsert = model.count < 40 && Bool.random(using: &random)
            if isInsert {
                let side = Int.random(in: 0..<2, using: &random)
                let item = Item(next[side])
                table.insert(item, item.number)
                model[item.number] = item
                next[side] += 2
            } else {
                // Mostly one that is there: young, or as old as may be.
                let number =
                    Int.random(in: 0..<4, using: &random) == 0
                    ? UInt32.random(in: 1...max(1, next[0]), using: &random)
                    : model.keys.sorted().randomElement(using: &random) ?? 1
                let (removed, expected) = (table.remove(number), model.removeValue(forKey: number))
                #expect(removed === expected, "seed \(seed), step \(step)")
            }
            let probe = UInt32.random(in: 0...next[0] + 4, using: &random)
            guard table[probe] === model[probe], table.count == model.count else {
                Issue.record("differs from its model at \(probe) after step \(step), seed \(seed)")
                return
            }
            if step % 1000 == 0 {
                #expect(Set(table.all.map(\.number)) == Set(model.keys))
                for (number, item) in model { #expect(table[number] === item) }
            }
        }
    }

    @Test func `knows nothing of number zero`() {
        var table = StreamTable<Item>()
        let removed = table.remove(0)
        #expect(removed == nil)
        #expect(table[0] == nil)
        #expect(table.count == 0)
    }
}

private final class Waiting: Dispatchable {
    var isAbandoned = false
    private(set) var refusal: Refusal?
    func dispatch(on channel: Channel) {}
    func refuse(_ reason: Refusal) { refusal = reason }
}

@Suite struct `Waiting line` {
    @Test func `serves in the order of coming, and keeps nothing that was served`() {
        var line = WaitingLine()
        weak var first: Waiting?
        do {
            let event = Waiting()
            first = event
            line.append(event, limit: 1, deadline: .init(nanoseconds: 1))
        }
        let others = (0..<2000).map { _ in Waiting() }
        for (index, other) in others.enumerated() {
            line.append(other, limit: index, deadline: .init(nanoseconds: Int64(index + 2)))
        }
        #expect(line.count == 2001)
        line.removeFirst()
        #expect(first == nil)
        for index in others.indices {
            #expect(line.first?.0 === others[index])
            #expect(line.first?.1 == index)
            line.removeFirst()
        }
        #expect(line.isEmpty)
        #expect(line.first == nil)
    }

    @Test func `gives up those whose time is over, and the places of those that left`() {
        var line = WaitingLine()
        let events = (0..<10).map { _ in Waiting() }
        for (index, event) in events.enumerated() {
            line.append(event, limit: 1, deadline: .init(nanoseconds: Int64(index)))
        }
        let expired = line.removeExpired(.init(nanoseconds: 3))
        #expect(expired.count == 4)
        #expect(zip(expired, events).allSatisfy { $0 === $1 })
        for event in events[6...8] { event.isAbandoned = true }
        line.removeAbandoned()
        #expect(line.count == 3)
        #expect(line.first?.0 === events[4])
        line.removeFirst()
        line.removeFirst()
        #expect(line.first?.0 === events[9])
    }
}
