import Platform
import Testing
import Workers

@Suite struct `The conditions of a request` {
    typealias Row = (fields: [String: String], verdict: Preconditions.Verdict)

    private static let etag = "\"now\""
    /// 2026-11-21T00:00:00Z
    private static let modified: Int64 = 1_795_219_200
    private static let same = "Sat, 21 Nov 2026 00:00:00 GMT"
    private static let before = "Fri, 20 Nov 2026 23:59:59 GMT"
    private static let after = "Saturday, 21-Nov-26 00:00:01 GMT"

    /// RFC 9110 §13.2.2, row by row: a tag goes before its date, and what must hold before what must differ.
    private static let table: [Row] = [
        ([:], .proceed),
        (["if-match": etag], .proceed), (["if-match": "*"], .proceed), (["if-match": "\"x\", \(etag)"], .proceed),
        (["if-match": "\"x\""], .failed), (["if-match": "W/\(etag)"], .failed), (["if-match": "now"], .failed),
        (["if-match": ""], .failed),
        (["if-unmodified-since": same], .proceed), (["if-unmodified-since": after], .proceed),
        (["if-unmodified-since": before], .failed), (["if-unmodified-since": "yesterday"], .proceed),
        (["if-match": etag, "if-unmodified-since": before], .proceed),
        (["if-none-match": etag], .notModified), (["if-none-match": "*"], .notModified),
        (["if-none-match": "\"x\",W/\(etag)"], .notModified), (["if-none-match": "\"x\""], .proceed),
        (["if-none-match": "now"], .proceed),
        (["if-modified-since": same], .notModified), (["if-modified-since": after], .notModified),
        (["if-modified-since": before], .proceed), (["if-modified-since": "0"], .proceed),
        (["if-none-match": "\"x\"", "if-modified-since": after], .proceed),
        (["if-match": etag, "if-none-match": etag], .notModified),
        (["if-match": "\"x\"", "if-none-match": etag], .failed),
        (["if-unmodified-since": same, "if-modified-since": same], .notModified),
    ]

    @Test(arguments: table)
    func `are judged in their order`(fields: [String: String], verdict: Preconditions.Verdict) throws {
        let conditions = Preconditions(try Headers(fields.map { ($0.key, $0.value) }))
        #expect(conditions.verdict(etag: Self.etag, lastModified: Self.modified) == verdict)
        #expect(conditions.isEmpty == fields.isEmpty)
    }
}
