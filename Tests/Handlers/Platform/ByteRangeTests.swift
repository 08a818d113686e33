import Platform
import Testing

@Suite struct `A range of bytes` {
    private static let many = "99999999999999999999"

    @Test(arguments: [
        ("bytes=0-0", 0, 1), ("bytes=2-5", 2, 4), ("bytes=2-", 2, 8), ("bytes=9-9", 9, 1), ("bytes=5-10", 5, 5),
        ("bytes=5-\(many)", 5, 5), ("bytes=-3", 7, 3), ("bytes=-10", 0, 10), ("bytes=-11", 0, 10),
        ("bytes=-\(many)", 0, 10), ("BYTES=0-1", 0, 2), ("bytes= 0-1 ", 0, 2), ("bytes=00-01", 0, 2),
    ])
    func `lies inside of what there is`(header: String, offset: Int64, length: Int64) {
        #expect(ByteRange(header, size: 10) == .part(offset: offset, length: length))
    }

    @Test(arguments: ["bytes=10-", "bytes=10-10", "bytes=11-", "bytes=\(many)-", "bytes=\(many)-\(many)", "bytes=-0"])
    func `may be outside`(header: String) {
        #expect(ByteRange(header, size: 10) == .unsatisfiable)
    }

    @Test(arguments: [
        "", "bytes", "bytes=", "bytes=-", "bytes=5", "bytes=5-4", "bytes=0-1,3-4", "bytes=1-2-3", "bytes=+1-2",
        "bytes=0x1-2", "bytes=a-b", "lines=0-1", "bytes=٣-٤", "bytes=0-" + String(repeating: "1", count: 200),
    ])
    func `that can't be read is everything`(header: String) {
        #expect(ByteRange(header, size: 10) == .whole)
    }

    @Test func `of nothing is outside`() {
        #expect(ByteRange("bytes=0-", size: 0) == .unsatisfiable)
        #expect(ByteRange("bytes=-1", size: 0) == .unsatisfiable)
    }
}
