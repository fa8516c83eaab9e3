import Domain
import Foundation
import Testing

private let dates: [(Int64, String)] = [
    (0, "1970-01-01T00:00:00.000Z"),
    (1_795_194_850_123_456, "2026-11-20T17:14:10.123Z"),
    (999, "1970-01-01T00:00:00.000Z"),
    (-1, "1969-12-31T23:59:59.999Z"),
    (-1000, "1969-12-31T23:59:59.999Z"),
    (-1001, "1969-12-31T23:59:59.998Z"),
    (-86_400_000_000, "1969-12-31T00:00:00.000Z"),
    (-58_038_771_991_000, "1968-02-29T06:07:08.009Z"),
    (951_825_600_000_000, "2000-02-29T12:00:00.000Z"),
    (951_868_800_000_000, "2000-03-01T00:00:00.000Z"),
    (1_677_628_799_000_001, "2023-02-28T23:59:59.000Z"),
    (1_677_628_800_000_000, "2023-03-01T00:00:00.000Z"),
    (1_709_251_199_999_000, "2024-02-29T23:59:59.999Z"),
    (1_735_689_599_000_000, "2024-12-31T23:59:59.000Z"),
    (1_735_689_600_000_000, "2025-01-01T00:00:00.000Z"),
    (4_107_542_399_000_000, "2100-02-28T23:59:59.000Z"),
    (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
    (-2_203_891_200_500_000, "1900-02-28T23:59:59.500Z"),
    (-2_203_891_200_000_000, "1900-03-01T00:00:00.000Z"),
    (-11_670_998_400_000_000, "1600-02-29T00:00:00.000Z"),
    (-62_135_596_800_000_000, "0001-01-01T00:00:00.000Z"),
    (253_402_300_799_999_999, "9999-12-31T23:59:59.999Z"),
]

private let roundings: [(Int64, Int64)] = [
    (0, 0), (999, 0), (1000, 1), (1_700_000_000_123_999, 1_700_000_000_123), (-1, -1), (-1000, -1), (-1001, -2),
]

private let durations: [(Duration, Int64)] = [
    (.zero, 0), (.seconds(2), 2_000_000), (.milliseconds(-1500), -1_500_000), (.nanoseconds(1999), 1),
    (.nanoseconds(-1999), -1), (.milliseconds(3_600_001), 3_600_001_000),
]

private let start: Int64 = 1_795_194_850_123_456
private let distances: [Int64] = [-5_000_001, 0, 7, 86_400_000_000]
private let instants: [Int64] = [0, 999, 1000, start, 253_402_300_799_999_999]

@Suite("Timestamps")
struct TimestampTests {
    @Test("An instant is written in UTC with milliseconds", arguments: dates)
    func iso8601(microseconds: Int64, text: String) {
        #expect(Timestamp(microseconds: microseconds).iso8601 == text)
    }

    @Test("Milliseconds are rounded down, before 1970 too", arguments: roundings)
    func roundsDown(microseconds: Int64, expected: Int64) {
        #expect(Timestamp(microseconds: microseconds).milliseconds == expected)
    }

    @Test("A duration has whole microseconds, rounded towards zero", arguments: durations)
    func microseconds(duration: Duration, expected: Int64) {
        #expect(duration.microseconds == expected)
    }

    @Test("A duration's milliseconds keep their fraction")
    func fractionalMilliseconds() {
        #expect(Duration.microseconds(2500).milliseconds == 2.5)
    }

    @Test("Adding what lies between two instants to the earlier gives the later", arguments: distances)
    func differences(distance: Int64) {
        let earlier = Timestamp(microseconds: start)
        let later = Timestamp(microseconds: start + distance)
        #expect(later.duration(since: earlier) == .microseconds(distance))
        #expect(earlier.adding(later.duration(since: earlier)) == later)
    }

    @Test("An earlier instant is less than a later one")
    func order() {
        #expect(Timestamp(microseconds: -2) < Timestamp(microseconds: -1))
        #expect(Timestamp(microseconds: 1) > Timestamp(microseconds: 0))
    }

    @Test("The system's clock agrees with Foundation's")
    func systemClock() {
        let ours = Double(Ambient.system.now().microseconds) / 1_000_000
        #expect(abs(ours - Date().timeIntervalSince1970) < 5)
    }

    @Test("Random numbers stay below one and differ")
    func randomNumbers() {
        let numbers = (0..<1000).map { _ in Ambient.system.random() }
        #expect(numbers.allSatisfy { (0..<1).contains($0) })
        #expect(Set(numbers).count > 900)
    }
}

@Suite("UUIDv7")
struct UUIDVersion7Tests {
    private func digits(_ id: UUID) -> String { id.uuidString.lowercased().filter { $0 != "-" } }

    @Test("An id names version 7 and the variant of RFC 9562", arguments: Int64(0)..<50)
    func versionAndVariant(offset: Int64) {
        let id = UUID.version7(at: Timestamp(microseconds: start + offset * 997)).uuid
        #expect(id.6 >> 4 == 7)
        #expect(id.8 >> 6 == 0b10)
    }

    @Test("The first 48 bits are the milliseconds", arguments: instants)
    func milliseconds(microseconds: Int64) {
        let time = Timestamp(microseconds: microseconds)
        let leading = Int64(digits(UUID.version7(at: time)).prefix(12), radix: 16)
        #expect(leading == time.milliseconds)
    }

    @Test("Ids of later microseconds sort after those of earlier ones")
    func order() {
        let ids = (Int64(0)..<5000).map { digits(UUID.version7(at: Timestamp(microseconds: start + $0))) }
        #expect(ids == ids.sorted())
        #expect(Set(ids).count == ids.count)
    }

    @Test("Ids of one instant differ")
    func uniqueness() {
        let ids = (0..<1000).map { _ in UUID.version7(at: Timestamp(microseconds: start)) }
        #expect(Set(ids).count == 1000)
    }

    @Test("New ids of the system carry the present")
    func systemIDs() {
        let before = Ambient.system.now().milliseconds
        let leading = Int64(digits(Ambient.system.makeID()).prefix(12), radix: 16) ?? 0
        #expect((before...(before + 5000)).contains(leading))
    }
}
