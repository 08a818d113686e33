import HTTP
import Testing

@Suite struct `Request corpus` {
    @Test func `has the cases that the project promises`() {
        #expect(RequestCase.all.count >= 220)
        #expect(Set(RequestCase.all.map(\.name)).count == RequestCase.all.count)
    }

    @Test(arguments: RequestCase.all)
    func `gives the expected outcome, however the bytes are split`(_ request: RequestCase) {
        #expect(ServerModel.outcomes(of: [request.bytes]) == request.expected)
        #expect(ServerModel.outcomes(of: request.bytes.smallPieces()) == request.expected, "byte by byte")
        for seed in UInt64(1)...4 {
            var random = SplitMix64(seed: seed)
            #expect(
                ServerModel.outcomes(of: request.bytes.pieces(using: &random)) == request.expected,
                "seed \(seed)")
        }
    }

    @Test(arguments: RequestCase.all.filter { $0.expected == ["ok"] && $0.bytes.count < 4000 })
    func `waits for each byte of an accepted request`(_ request: RequestCase) {
        for count in 0..<request.bytes.count {
            #expect(
                ServerModel.outcomes(of: [Array(request.bytes[..<count])]) == ["incomplete"], "\(count) bytes"
            )
        }
    }
}
