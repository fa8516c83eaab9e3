import Domain
import Foundation
import Testing

@Suite("Reading times")
struct TimestampReadingTests {
    @Test(
        "dates and times of RFC 3339 in UTC are read",
        arguments: [
            ("1970-01-01", 0), ("1970-01-02", 86_400_000_000), ("1969-12-31", -86_400_000_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000), ("2026-11-20T17:14:10.123Z", 1_795_194_850_123_000),
            ("2026-11-20T17:14:10.1234567Z", 1_795_194_850_123_456), ("2026-11-20T17:14:10Z", 1_795_194_850_000_000),
        ] as [(String, Int64)])
    func good(text: String, microseconds: Int64) {
        #expect(Timestamp(rfc3339: text)?.microseconds == microseconds)
    }

    @Test("what is written is read as the same")
    func roundTrip() {
        for day: Int64 in stride(from: -400_000, to: 400_000, by: 97) {
            let time = Timestamp(microseconds: day * 86_400_000_000 + 45_296_789_000)
            #expect(Timestamp(rfc3339: time.iso8601) == time, "\(time.iso8601)")
        }
    }

    @Test(
        "anything else is not",
        arguments: [
            "", "x", "2026", "2026-1-1", "2026-13-01", "2026-02-29", "2026-00-01", "2026-01-00", "2026-11-20T", "2026-11-20Z",
            "2026-11-20T17:14:10", "2026-11-20T24:00:00Z", "2026-11-20T17:60:10Z", "2026-11-20T17:14:60Z",
            "2026-11-20 17:14:10Z", "2026-11-20T17:14:10+01:00", "2026-11-20T17:14:10.Z", "2026-11-20T17:14:10.xZ",
            "+026-11-20", "2026-11-2０", "2026-11-20T17:14:10.12345678901234567890Z",
        ])
    func bad(text: String) { #expect(Timestamp(rfc3339: text) == nil) }

    @Test(
        "a time outside of the years that can be written does not end the process",
        arguments: [Int64.min, -62_200_000_000_000_000, Int64.max])
    func extreme(microseconds: Int64) {
        #expect(Timestamp(microseconds: microseconds).iso8601.count == 24)
    }

    @Test("a time bounds the ids that were made at it")
    func lowestID() {
        let time = Timestamp(microseconds: 1_795_194_850_123_000)
        let bound = UUID.lowestVersion7(at: time).uuidString
        for offset: Int64 in [0, 1, 999] {
            #expect(UUID.version7(at: Timestamp(microseconds: time.microseconds + offset)).uuidString >= bound)
        }
        #expect(UUID.version7(at: Timestamp(microseconds: time.microseconds - 1)).uuidString < bound)
    }
}
