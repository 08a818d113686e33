import System
import Testing

@testable import StoresR2

@Suite struct `R2 blobs while a copy is made` {
    private func identifier(_ number: Int64) -> Identifier { Identifier.make(at: UnixTime(milliseconds: number)) }

    @Test func `nothing goes away before the last copy is released`() {
        let use = BlobUse()
        let (first, second) = (identifier(1), identifier(2))
        use.hold()
        use.hold()
        #expect(use.beginUnlinking([first], of: first).isEmpty)
        // A sweep leaves all files alone: it can't know what the copies name.
        #expect(use.isHeld(first))
        #expect(use.isHeld(second))
        #expect(use.release().isEmpty)
        #expect(use.beginUnlinking([second], of: second).isEmpty)
        #expect(use.release().map(\.blobs) == [[first], [second]])
        #expect(!use.isHeld(first))
        // As if they had been unlinked at once: nobody may begin to read them.
        #expect(!use.pin(first))
        use.endUnlinking(first)
        #expect(use.pin(first))
        #expect(use.beginUnlinking([second], of: second) == [second])
    }

    @Test func `the last reader of a replaced version leaves its files to the copy`() {
        let use = BlobUse()
        let version = identifier(3)
        #expect(use.pin(version))
        use.hold()
        #expect(use.beginUnlinking([version], of: version).isEmpty)
        #expect(use.unpin(version).isEmpty)
        #expect(use.release().map(\.blobs) == [[version]])
    }

    @Test func `a reader that outlasts the copy is waited for`() {
        let use = BlobUse()
        let version = identifier(4)
        #expect(use.pin(version))
        use.hold()
        #expect(use.beginUnlinking([version], of: version).isEmpty)
        #expect(use.release().isEmpty)
        #expect(use.unpin(version) == [version])
    }
}
