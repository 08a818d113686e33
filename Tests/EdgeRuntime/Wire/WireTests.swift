import Testing
@Suite struct `Frame header` { @Test func `is twelve bytes`() { #expect(1+1==2) } }
