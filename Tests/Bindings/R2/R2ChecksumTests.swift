import Testing

@testable import Interfaces
@testable import StoresR2

@Suite struct `R2 checksums` {
    typealias Polynomial = CyclicRedundancyCheck.Polynomial

    private static func crc(_ bytes: [UInt8], _ polynomial: Polynomial) -> UInt64 {
        var crc = CyclicRedundancyCheck(polynomial)
        crc.update(bytes)
        return crc.value
    }

    @Test func `CRCs have the check values of their definitions`() {
        let digits = Array("123456789".utf8)
        #expect(Self.crc(digits, .crc32) == 0xCBF4_3926)
        #expect(Self.crc(digits, .crc32c) == 0xE306_9283)
        #expect(Self.crc(digits, .crc64nvme) == 0xAE8B_1486_0A79_9888)
        for polynomial in [Polynomial.crc32, .crc32c, .crc64nvme] { #expect(Self.crc([], polynomial) == 0) }
    }

    /// RFC 3720, appendix B.4.
    @Test func `CRC32C has the values of RFC 3720`() {
        #expect(Self.crc([UInt8](repeating: 0, count: 32), .crc32c) == 0x8A91_36AA)
        #expect(Self.crc([UInt8](repeating: 0xFF, count: 32), .crc32c) == 0x62A8_AB43)
        #expect(Self.crc(Array(0..<32), .crc32c) == 0x46DD_794E)
        #expect(Self.crc((0..<32).reversed(), .crc32c) == 0x113F_DB5C)
        let command: [UInt8] =
            [0x01, 0xC0] + [UInt8](repeating: 0, count: 14)
            + [
                0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0,
                0,
            ]
        #expect(Self.crc(command, .crc32c) == 0xD996_3A56)
    }

    /// NVM Command Set Specification, "64b CRC test cases".
    @Test func `CRC64NVME has the values of its specification`() {
        #expect(Self.crc([UInt8](repeating: 0, count: 4096), .crc64nvme) == 0x6482_D367_EB22_B64E)
        #expect(Self.crc([UInt8](repeating: 0xFF, count: 4096), .crc64nvme) == 0xC0DD_BA73_02EC_A3AC)
    }

    /// Bit by bit, straight from the definition.
    private static func slow(_ bytes: [UInt8], _ polynomial: Polynomial) -> UInt64 {
        let all: UInt64 = polynomial.width == 64 ? .max : (1 << UInt64(polynomial.width)) - 1
        var register = all
        for byte in bytes {
            register ^= UInt64(byte)
            for _ in 0..<8 {
                register = register & 1 == 1 ? register >> 1 ^ polynomial.reversed : register >> 1
            }
        }
        return register ^ all
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `in pieces of any size, and combined, a CRC is that of the whole`(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for polynomial in [Polynomial.crc32, .crc32c, .crc64nvme] {
            for _ in 0..<40 {
                let bytes = pattern(Int.random(in: 0...300, using: &generator), seed: generator.next())
                let whole = Self.slow(bytes, polynomial)
                #expect(Self.crc(bytes, polynomial) == whole)
                let cut = Int.random(in: 0...bytes.count, using: &generator)
                let (left, right) = (Array(bytes[..<cut]), Array(bytes[cut...]))
                var pieces = CyclicRedundancyCheck(polynomial)
                pieces.update(left)
                pieces.update(right)
                #expect(pieces.value == whole)
                let combined = polynomial.combine(
                    Self.crc(left, polynomial), Self.crc(right, polynomial), advance: polynomial.advance(by: Int64(right.count))
                )
                #expect(combined == whole, "seed \(seed), \(bytes.count) bytes cut at \(cut)")
            }
        }
    }

    @Test func `combining costs the same for gigabytes`() {
        // 2⁴⁰ zero bytes, in halves, by doubling.
        let polynomial = Polynomial.crc64nvme
        var (crc, count) = (Self.crc([0], polynomial), Int64(1))
        while count < 1 << 20 {
            crc = polynomial.combine(crc, crc, advance: polynomial.advance(by: count))
            count *= 2
        }
        #expect(crc == Self.crc([UInt8](repeating: 0, count: 1 << 20), polynomial))
    }

    @Test(arguments: [5, 100_000])
    func `each is verified, kept and shown`(_ size: Int) async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let content = size == 5 ? Array("value".utf8) : pattern(size)
        for algorithm in R2Checksum.Algorithm.allCases {
            let right = RunningChecksum.of(content, algorithm)
            let put = try #require(try await bucket.put("k", content, checksum: R2Checksum(algorithm, right)))
            #expect(put.checksums[algorithm] == right && put.checksums.kind == .fullObject)
            #expect(put.checksums.hexadecimal.count == (algorithm == .md5 ? 1 : 2))
            #expect(try await bucket.head("k") == put)
            var wrong = right
            wrong[0] ^= 1
            let message = await failure {
                try await bucket.put("k", content, checksum: R2Checksum(algorithm, wrong))
            }
            #expect(message.hasPrefix("put: The \(algorithm.title) checksum you specified did not match"))
            #expect(message.hasSuffix("(10037)"))
            #expect(try await bucket.head("k") == put)
        }
        let text = try await bucket.put("k", "value", checksum: .crc32("1d775834"))
        #expect(text?.checksums.hexadecimal["crc32"] == "1d775834")
        for (checksum, message) in [
            (R2Checksum(.crc32, [1]), "TypeError: CRC32 is 4 bytes, not 1"),
            (.crc32c("00"), "TypeError: CRC32C is 8 hex characters, not 2"),
            (.crc64nvme("zzzzzzzzzzzzzzzz"), "TypeError: Provided CRC64NVME wasn't a valid hex string"),
        ] { #expect(await failure { try await bucket.put("k", "v", checksum: checksum) } == message) }
    }

    @Test(arguments: R2Checksum.Algorithm.allCases)
    func `of an upload in parts one is kept, of the bytes or of the parts`(
        _ algorithm: R2Checksum.Algorithm
    ) async throws {
        let fixture = try await Fixture()
        let bucket = fixture.bucket
        let contents = [[UInt8](repeating: 7, count: 5 << 20), pattern(1000)]
        let upload = try await bucket.createMultipartUpload("k", checksumAlgorithm: algorithm)
        var parts: [R2UploadedPart] = []
        for (index, content) in contents.enumerated() {
            let checksum = R2Checksum(algorithm, RunningChecksum.of(content, algorithm))
            parts.append(try await upload.uploadPart(index + 1, stream(content), checksum: checksum))
        }
        let wrong = R2Checksum(algorithm, [UInt8](repeating: 1, count: algorithm.byteCount))
        #expect(await failure { _ = try await upload.uploadPart(3, "x", checksum: wrong) }.hasSuffix("(10037)"))
        let other: R2Checksum = algorithm == .sha1 ? .crc32("00000000") : .sha1(String(repeating: "0", count: 40))
        if algorithm != .md5 {
            #expect(await failure { _ = try await upload.uploadPart(3, "x", checksum: other) }.hasSuffix("(10029)"))
        }
        #expect(fixture.blobs.count == 2 && fixture.temporaries.isEmpty)
        let object = try await upload.complete(parts)
        let whole = RunningChecksum.of(contents[0] + contents[1], algorithm)
        let composite = RunningChecksum.of(
            contents.flatMap { RunningChecksum.of($0, algorithm) }, algorithm)
        #expect(object.checksums[algorithm] == (algorithm == .crc64nvme ? whole : composite))
        #expect(object.checksums.kind == (algorithm == .crc64nvme ? .fullObject : .composite))
        #expect(object.checksums.hexadecimal.count == 1)
        try await fixture.reopen()
        #expect(try await fixture.bucket.head("k") == object)
    }
}
