/// An instant as UTC microseconds since 1970, the form every table stores.
public struct Timestamp: Hashable, Comparable, Sendable {
    public let microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// Milliseconds since 1970, rounded down: the unit of AG-UI's `timestamp`.
    public var milliseconds: Int64 { microseconds.dividedEuclidean(by: 1000).quotient }

    public static func < (left: Self, right: Self) -> Bool { left.microseconds < right.microseconds }

    public func adding(_ duration: Duration) -> Timestamp {
        Timestamp(microseconds: microseconds + duration.microseconds)
    }

    public func duration(since earlier: Timestamp) -> Duration {
        .microseconds(microseconds - earlier.microseconds)
    }

    /// RFC 3339 in UTC with milliseconds, `2026-11-20T17:14:10.123Z`; years 0 to 9999.
    public var iso8601: String {
        let (seconds, micros) = microseconds.dividedEuclidean(by: 1_000_000)
        let (days, second) = seconds.dividedEuclidean(by: 86400)
        let (year, month, day) = Self.civil(daysSince1970: days)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        func append(_ number: Int64, digits: Int, then separator: Unicode.Scalar) {
            var divisor: Int64 = 1
            for _ in 1..<digits { divisor *= 10 }
            while divisor > 0 {
                text.append(UInt8(ascii: "0") + UInt8(number / divisor % 10))
                divisor /= 10
            }
            text.append(UInt8(ascii: separator))
        }
        append(year, digits: 4, then: "-")
        append(month, digits: 2, then: "-")
        append(day, digits: 2, then: "T")
        append(second / 3600, digits: 2, then: ":")
        append(second / 60 % 60, digits: 2, then: ":")
        append(second % 60, digits: 2, then: ".")
        append(micros / 1000, digits: 3, then: "Z")
        return String(decoding: text, as: UTF8.self)
    }

    /// The proleptic Gregorian date of a day number (H. Hinnant, "chrono-compatible low-level date algorithms").
    static func civil(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (days + 719_468).dividedEuclidean(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }
}

extension Int64 {
    /// Division whose remainder is never negative.
    fileprivate func dividedEuclidean(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

extension Duration {
    /// The whole duration in microseconds, rounded towards zero.
    public var microseconds: Int64 {
        components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
    }

    /// The whole duration in milliseconds, with fractions.
    public var milliseconds: Double { Double(microseconds) / 1000 }
}
