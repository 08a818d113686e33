import OpenSSL
import Testing

@Suite struct `A digest` {
    /// Digests of "abc": RFC 1321 §A.5, FIPS 180-4 examples.
    static let vectors: [(Digest.Algorithm, String)] = [
        (.md5, "900150983cd24fb0d6963f7d28e17f72"),
        (.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            .sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
        ),
        (
            .sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
    ]

    @Test(arguments: vectors) func `matches the published digest of abc`(
        algorithm: Digest.Algorithm, expected: String
    ) {
        let digest = Digest.hash("abc", with: algorithm)
        #expect(hex(digest) == expected)
        #expect(digest.count == algorithm.byteCount)
    }

    @Test(arguments: Digest.Algorithm.allCases) func `is the same in pieces as in one`(
        algorithm: Digest.Algorithm
    ) {
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var digest = Digest(algorithm)
        digest.update(bytes[0..<1])
        digest.update([])
        digest.update(bytes[1..<4096])
        #expect(digest.current() == Digest.hash(Array(bytes[0..<4096]), with: algorithm))
        digest.update(bytes[4096...])
        let whole = digest.finish()
        #expect(whole == Digest.hash(bytes, with: algorithm))
    }

    @Test func `of nothing is the digest of the empty text`() {
        let digest = Digest(.sha256).finish()
        #expect(hex(digest) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
        let text = String(byte, radix: 16)
        return byte < 16 ? "0" + text : text
    }.joined()
}
