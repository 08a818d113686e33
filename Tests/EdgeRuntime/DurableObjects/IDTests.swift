import DurableObjects
import Testing

struct IDTests {
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
}
