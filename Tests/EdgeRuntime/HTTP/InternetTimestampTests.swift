import HTTP
import Testing

@Suite struct `Internet timestamps` {
    @Test(arguments: [
        ("1970-01-01T00:00:00.000Z", 0), ("2024-05-24T19:36:44.379Z", 1_716_579_404_379),
        ("1969-12-31T23:59:59.999Z", -1), ("2000-02-29T12:00:00.001Z", 951_825_600_001),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999), ("0000-01-01T00:00:00.000Z", -62_167_219_200_000),
    ])
    func `are written and read`(_ text: String, _ milliseconds: Int64) {
        #expect(InternetTimestamp.text(milliseconds: milliseconds) == text)
        #expect(InternetTimestamp.milliseconds(text) == milliseconds)
    }

    @Test(arguments: [
        ("2026-01-31", 1_769_817_600_000), ("2026-01-31T00:00:00Z", 1_769_817_600_000),
        ("2026-01-31t01:00:00.5+01:00", 1_769_817_600_500), ("2026-01-30T22:30:00-01:30", 1_769_817_600_000),
        ("2026-01-31T00:00:00.1239z", 1_769_817_600_123),
    ])
    func `are read in all their forms`(_ text: String, _ milliseconds: Int64) {
        #expect(InternetTimestamp.milliseconds(text) == milliseconds)
    }

    @Test(arguments: [
        "", "2026", "2026-1-31", "2026-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "2026-01-31T", "2026-01-31T00:00:00",
        "2026-01-31T24:00:00Z", "2026-01-31T00:60:00Z", "2026-01-31T00:00:61Z", "2026-01-31T00:00:00.Z",
        "2026-01-31T00:00:00+24:00", "2026-01-31T00:00:00+0100", "2026-01-31T00:00:00Zx", "2026-01-31 00:00:00Z", "+026-01-31",
    ])
    func `are refused when they are none`(_ text: String) { #expect(InternetTimestamp.milliseconds(text) == nil) }
}
