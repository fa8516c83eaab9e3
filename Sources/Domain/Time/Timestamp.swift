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

    /// RFC 3339 in UTC with milliseconds, `2026-11-20T17:14:10.123Z`; years 0 to 9999: one before or after is written as the nearest.
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
        append(min(max(year, 0), 9999), digits: 4, then: "-")
        append(month, digits: 2, then: "-")
        append(day, digits: 2, then: "T")
        append(second / 3600, digits: 2, then: ":")
        append(second / 60 % 60, digits: 2, then: ":")
        append(second % 60, digits: 2, then: ".")
        append(micros / 1000, digits: 3, then: "Z")
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads a date-time of RFC 3339 with `Z`, or a date, which is its first instant in UTC; `nil` for anything else.
    public init?(rfc3339 text: String) {
        let utf8 = Array(text.utf8)
        guard utf8.count == 10 || (utf8.count >= 20 && utf8.count <= 30 && utf8.last == UInt8(ascii: "Z")),
            let date = Self.fields(utf8[..<10], separator: "-", widths: [4, 2, 2]), (1...12).contains(date[1]),
            date[2] >= 1
        else { return nil }
        let days = Self.days(year: date[0], month: date[1], day: date[2])
        guard Self.civil(daysSince1970: days) == (date[0], date[1], date[2]) else { return nil }
        var total = days * 86_400_000_000
        if utf8.count > 10 {
            guard utf8[10] == UInt8(ascii: "T"),
                let clock = Self.fields(utf8[11..<19], separator: ":", widths: [2, 2, 2]), clock[0] < 24, clock[1] < 60,
                clock[2] < 60, let fraction = Self.microseconds(utf8[19..<(utf8.count - 1)])
            else { return nil }
            total += ((clock[0] * 60 + clock[1]) * 60 + clock[2]) * 1_000_000 + fraction
        }
        self.init(microseconds: total)
    }

    /// Numbers of fixed widths between separators.
    private static func fields(_ text: ArraySlice<UInt8>, separator: Unicode.Scalar, widths: [Int]) -> [Int64]? {
        let parts = text.split(separator: UInt8(ascii: separator), omittingEmptySubsequences: false)
        guard parts.map(\.count) == widths else { return nil }
        let numbers = parts.compactMap(number)
        return numbers.count == parts.count ? numbers : nil
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int64($1 - 48) }
    }

    /// `.5` as 500 000; nothing is nothing.
    private static func microseconds(_ text: ArraySlice<UInt8>) -> Int64? {
        guard let point = text.first else { return 0 }
        let digits = text.dropFirst()
        guard point == UInt8(ascii: "."), !digits.isEmpty else { return nil }
        return number(digits.prefix(6) + [UInt8](repeating: 48, count: max(0, 6 - digits.count)))
    }

    /// The day number of a date of the proleptic Gregorian calendar (H. Hinnant, as below).
    static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let (year, era) = (month <= 2 ? year - 1 : year, (month <= 2 ? year - 1 : year).dividedEuclidean(by: 400).quotient)
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
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
