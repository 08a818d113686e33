import DurableObjects
import Testing

@MainActor struct GateTests {
    @Test func probe1and2_idsAreAFunctionOfNamespaceAndName() throws {
        let key = DurableObjectKey([UInt8](repeating: 1, count: 32))
        let other = DurableObjectKey([UInt8](repeating: 2, count: 32))
        let id = key.id(name: "a")
        #expect(id.description.count == 64 && id == key.id(name: "a") && id.name == "a")
        #expect(key.uniqueID() != key.uniqueID() && key.uniqueID().name == nil)
        #expect(try key.id(text: id.description.uppercased()) == id)
        #expect(try key.id(text: id.description).name == nil)
        for text in ["zz", "", String(repeating: "g", count: 64), String(repeating: "é", count: 32)] {
            let error = #expect(throws: DurableObjectError.self) { try key.id(text: text) }
            #expect(error?.message == "Invalid Durable Object ID: must be 64 hex digits")
        }
        let error = #expect(throws: DurableObjectError.self) { try other.id(text: id.description) }
        #expect(error?.message == "Durable Object ID is not valid for this namespace.")
        #expect(key.key(in: "eu").id(name: "a") != id)
    }

    /// Read, wait as storage does, write: with the gate nothing comes between.
    @Test(arguments: [true, false])
    func probe5_aClosedGateKeepsOthersOut(_ isGated: Bool) async throws {
        let fixture = try Fixture()
        var value = 0
        var order: [Int] = []
        let tasks = (0..<200).map { number in
            Task { @MainActor in
                try await fixture.gate.enter()
                order.append(number)
                func step() async throws {
                    let read = value
                    await settle()
                    value = read + 1
                }
                if isGated { try await fixture.gate.locked { try await step() } } else { try await step() }
            }
        }
        for task in tasks { try await task.value }
        // A gate that is never closed lets them read the same: the test can tell.
        #expect((value == 200) == isGated)
        if isGated { #expect(order == Array(0..<200)) }
    }

    @Test func whatIsStartedInACriticalSectionPassesAndOthersWait() async throws {
        let gate = try Fixture().gate
        var log: [String] = []
        let section = Task { @MainActor in
            try await gate.criticalSection {
                log.append("begin")
                await settle()
                try await gate.enter()
                log.append("inside")
                try await gate.criticalSection { log.append("nested") }
                await settle()
                log.append("end")
            }
        }
        await settle()
        let other = Task { @MainActor in
            try await gate.enter()
            log.append("other")
        }
        try await section.value
        try await other.value
        #expect(log == ["begin", "inside", "nested", "end", "other"])
    }

    @Test func nestingHasABound() async throws {
        let gate = try Fixture().gate
        func nest(_ depth: Int) async throws { try await gate.criticalSection { try await nest(depth + 1) } }
        let error = await #expect(throws: DurableObjectError.self) { try await nest(0) }
        #expect(error?.message == "blockConcurrencyWhile() calls are nested too deeply.")
        try await gate.enter()
    }

    @Test func whoWaitsForAnObjectThatIsResetGetsTheReason() async throws {
        let gate = try Fixture().gate
        let section = Task { @MainActor in try await gate.criticalSection { await settle() } }
        await Task.yield()
        let waiting = Task { @MainActor in try await gate.enter() }
        await Task.yield()
        gate.fail(DurableObjectError("gone", isObjectReset: true))
        await #expect(throws: DurableObjectError.self) { try await waiting.value }
        await #expect(throws: DurableObjectError.self) { try await gate.enter() }
        _ = try? await section.value
    }
}
