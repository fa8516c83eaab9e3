import Domain
import Foundation

/// When something recurs: the five fields of crontab(5), and the instants that they name in a time zone.
///
/// The fields are minute (0 to 59), hour (0 to 23), day of month (1 to 31), month (1 to 12 or `jan` to `dec`) and day
/// of week (0 to 7 or `sun` to `sat`; 0 and 7 are Sunday), in upper or lower case. A field is `*`, a number, a range
/// `8-17`, a step of either, `*/5` or `8-17/2`, or a list of these, `1,15,20-25`. Instead of fields, a nickname:
/// `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`. As in Vixie's cron, a step after a
/// single number, `3/5`, is refused; beyond it, a range may end in `sun`, and a step that is longer than its field,
/// `*/90`, is refused instead of meaning `0`.
///
/// If both days are restricted, a date need match one of them only: `0 9 1 * mon` fires on the first and every Monday.
/// As in Vixie's cron, a field that starts with `*` is not restricted: `0 9 */2 * mon` fires on Mondays with odd dates.
///
/// Where clocks are changed, what counts is whether the hour field starts with `*`:
///
/// - An expression that names hours, `30 2 * * *`, fires once for each time of day, at the first instant at which the
///   clock has come to it. A time that is skipped fires when the clocks go forward, at the first instant after the gap;
///   all times of one gap together fire once. A time that comes twice fires the first time.
/// - An expression of all hours or every n-th, `*/15 * * * *`, follows elapsed time: it fires whenever the clock shows
///   a time that matches, in both passes of an hour that comes twice, and not in one that is skipped.
///
/// Vixie's cron takes a minute field that starts with `*` for the second kind, too, and ignores gaps of more than three
/// hours; here `* 2 * * *` names an hour, and a gap of any length is caught up with.
public struct CronExpression: Hashable, Sendable {
    /// Characters that an expression may have: enough for long lists in every field.
    public static let maximumLength = 256
    /// How far `next` looks, in years: 29 February may be Sunday, `0 0 29 2 */7`, only 40 years after the last time.
    public static let horizonYears = 41

    /// The expression as it was given, without blanks around it.
    public let text: String

    /// The values that match, as bits: of a day of week 0 to 6.
    private let minutes, hours, days, months, weekdays: UInt64
    /// Whether day of month or day of week is enough.
    private let eitherDaySuffices: Bool
    private let followsElapsedTime: Bool

    /// Reads an expression.
    ///
    /// Throws `invalid_request`, and says which field is wrong and what it may be, also for what never fires, such as
    /// 30 February.
    public init(_ text: String) throws(Problem) {
        guard text.utf8.count <= Self.maximumLength else {
            throw Problem(.invalidRequest, "A cron expression has at most \(Self.maximumLength) characters.")
        }
        self.text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        let fields = try Self.fields(of: self.text)
        minutes = try Field.minute.values(fields[0])
        hours = try Field.hour.values(fields[1])
        days = try Field.dayOfMonth.values(fields[2])
        months = try Field.month.values(fields[3])
        weekdays = try Field.dayOfWeek.values(fields[4])
        followsElapsedTime = fields[1].hasPrefix("*")
        eitherDaySuffices = !fields[2].hasPrefix("*") && !fields[4].hasPrefix("*")
        if !eitherDaySuffices { try refuseImpossibleDate() }
    }

    /// The first firing after `time`, not at it: a whole minute on the clocks of `zone`, or the end of a gap in them.
    /// `nil` if there is none within `horizonYears`, or none that a `Timestamp` can hold.
    public func next(after time: Timestamp, in zone: TimeZone) -> Timestamp? {
        let clock = WallClock(zone: zone)
        var instant = time.microseconds.flooredQuotient(by: 1_000_000)
        var offset = clock.offset(at: instant)
        // The last minute that needs no more firing. After a clock went back, it had been further.
        var reached = (instant + offset).flooredQuotient(by: 60)
        if !followsElapsedTime { reached = max(reached, clock.furthestMinute(before: instant)) }
        let horizon = reached + Int64(Self.horizonYears) * 366 * WallClock.minutesPerDay
        while let minute = firstMatch(after: reached), minute <= horizon {
            let due = minute * 60 - offset
            guard let change = clock.firstChange(after: instant, through: due) else { return Timestamp(seconds: due) }
            (instant, offset) = change
            if followsElapsedTime {
                reached = (instant + offset - 1).flooredQuotient(by: 60)
            } else if instant + offset >= minute * 60 {
                return Timestamp(seconds: instant)
            }
        }
        return nil
    }

    /// The firings after `time` up to and including `last`, in order; the first `limit` of them.
    public func firings(after time: Timestamp, through last: Timestamp, in zone: TimeZone, limit: Int) -> [Timestamp] {
        var firings: [Timestamp] = []
        var time = time
        while firings.count < limit, let firing = next(after: time, in: zone), firing <= last {
            firings.append(firing)
            time = firing
        }
        return firings
    }

    /// The time zone of a name of the IANA database, such as `Europe/Berlin`, or `UTC`, in this spelling.
    ///
    /// Throws `invalid_request` for any other name. Abbreviations are refused, as most stand for several zones or for
    /// an offset all year round. Store the name that was given: Foundation calls the zone `UTC` by the name `GMT`.
    public static func zone(named name: String) throws(Problem) -> TimeZone {
        // The longest name of the database has 32 characters.
        guard name.utf8.count <= 64, name == "UTC" || name.contains("/"), let zone = TimeZone(identifier: name) else {
            throw Problem(
                .invalidRequest,
                "There is no time zone \"\(name.prefix(64))\". Give a name of the IANA database, such as Europe/Berlin, or UTC.")
        }
        return zone
    }
}

// MARK: - Matching

extension CronExpression {
    /// The first minute after `minute` that matches, in minutes since 1970 on the zone's clocks.
    private func firstMatch(after minute: Int64) -> Int64? {
        let day = (minute + 1).flooredQuotient(by: WallClock.minutesPerDay)
        let minuteOfDay = minute + 1 - day * WallClock.minutesPerDay
        if firstDay(from: day) == day, let match = firstMinute(from: minuteOfDay) {
            return day * WallClock.minutesPerDay + match
        }
        guard let next = firstDay(from: day + 1), let match = firstMinute(from: 0) else { return nil }
        return next * WallClock.minutesPerDay + match
    }

    /// The first time of day from `minute` on, in minutes.
    private func firstMinute(from minute: Int64) -> Int64? {
        let hour = minute / 60
        if hours.contains(hour), let match = minutes.first(from: minute % 60) { return hour * 60 + match }
        guard let next = hours.first(from: hour + 1), let match = minutes.first(from: 0) else { return nil }
        return next * 60 + match
    }

    /// The first date from `day` on, in days since 1970.
    private func firstDay(from day: Int64) -> Int64? {
        var (year, month, dayOfMonth) = CivilDate.of(day: day)
        for _ in 0...(Self.horizonYears * 12) {
            if months.contains(month) {
                let start = CivilDate.day(year: year, month: month)
                if let match = dates(monthStart: start, length: CivilDate.day(year: year, month: month + 1) - start)
                    .first(from: dayOfMonth)
                {
                    return start + match - 1
                }
            }
            (year, month, dayOfMonth) = month == 12 ? (year + 1, 1, 1) : (year, month + 1, 1)
        }
        return nil
    }

    /// The days of a month that match, as bits.
    private func dates(monthStart: Int64, length: Int64) -> UInt64 {
        // 1 January 1970 was a Thursday.
        let firstWeekday = monthStart + 4 - (monthStart + 4).flooredQuotient(by: 7) * 7
        let weeks = (0..<6).reduce(0 as UInt64) { $0 | weekdays << (7 * $1) }
        let byWeekday = (weeks >> firstWeekday) << 1
        let all: UInt64 = (1 << (length + 1)) - 2
        return (eitherDaySuffices ? days | byWeekday : days & byWeekday) & all
    }

    /// In 400 years, every date falls on every day of the week: an expression fires if one of its dates exists.
    private func refuseImpossibleDate() throws(Problem) {
        let lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        let longest = (1...12).filter { months.contains(Int64($0)) }.map { lengths[$0 - 1] }.max() ?? 0
        let earliest = days.trailingZeroBitCount
        guard earliest > longest else { return }
        throw Problem(
            .invalidRequest,
            "The cron expression never fires: its day of month is \(earliest) or later, and its months have at most "
                + "\(longest) days.")
    }
}

// MARK: - Reading

extension CronExpression {
    private static let nicknames = [
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
    ]

    private static func fields(of text: String) throws(Problem) -> [Substring] {
        if text.hasPrefix("@") {
            guard let meaning = nicknames[text.lowercased()] else {
                throw Problem(
                    .invalidRequest,
                    "There is no cron nickname \"\(text)\". There are \(nicknames.keys.sorted().joined(separator: ", ")).")
            }
            return meaning.split(separator: " ")
        }
        let fields = text.split { $0 == " " || $0 == "\t" }
        guard fields.count == Field.allCases.count else {
            throw Problem(
                .invalidRequest,
                "A cron expression has five fields: minute, hour, day of month, month, and day of week. This one has "
                    + "\(fields.count). Every day at 9:30 is 30 9 * * *.")
        }
        return fields
    }

    private enum Field: String, CaseIterable {
        case minute, hour, month
        case dayOfMonth = "day of month"
        case dayOfWeek = "day of week"

        private var bounds: ClosedRange<Int> {
            switch self {
            case .minute: 0...59
            case .hour: 0...23
            case .dayOfMonth: 1...31
            case .month: 1...12
            case .dayOfWeek: 0...7
            }
        }

        /// The names of the values from the least on.
        private var names: [String] {
            switch self {
            case .minute, .hour, .dayOfMonth: []
            case .month: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
            case .dayOfWeek: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
            }
        }

        /// The values of a list, as bits.
        func values(_ list: Substring) throws(Problem) -> UInt64 {
            var bits: UInt64 = 0
            for element in list.split(separator: ",", omittingEmptySubsequences: false) {
                let (range, step) = try rangeAndStep(element)
                for value in stride(from: range.lowerBound, through: range.upperBound, by: step) {
                    bits |= 1 << (self == .dayOfWeek ? value % 7 : value)
                }
            }
            return bits
        }

        private func rangeAndStep(_ element: Substring) throws(Problem) -> (ClosedRange<Int>, step: Int) {
            let parts = element.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let step = parts.count == 2 ? try step(parts[1], in: element) : 1
            if parts[0] == "*" { return (bounds, step) }
            let ends = parts[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            let first = try value(ends[0], in: element)
            guard ends.count == 2 else {
                guard parts.count == 1 else {
                    throw fault(element, "a step needs * or a range before it, as in \(first)-\(bounds.upperBound)/\(step)")
                }
                return (first...first, step)
            }
            var last = try value(ends[1], in: element)
            // As the end of a range, `sun` is the day after `sat`.
            if self == .dayOfWeek, last == 0, first > 0, ends[1] != "0" { last = 7 }
            guard first <= last else { throw fault(element, "the range ends before it begins") }
            return (first...last, step)
        }

        private func value(_ text: Substring, in element: Substring) throws(Problem) -> Int {
            if let index = names.firstIndex(of: text.lowercased()) { return bounds.lowerBound + index }
            guard let number = Self.number(text) else {
                throw fault(element, text.isEmpty ? "a value is missing" : "\"\(text)\" is no value of this field")
            }
            guard bounds.contains(number) else { throw fault(element, "\(text) is out of range") }
            return number
        }

        private func step(_ text: Substring, in element: Substring) throws(Problem) -> Int {
            let longest = self == .dayOfWeek ? 7 : bounds.count
            guard let number = Self.number(text), (1...longest).contains(number) else {
                throw fault(element, "a step is a number from 1 to \(longest)")
            }
            return number
        }

        /// A number of ASCII digits; one that no field can hold is the largest there is.
        private static func number(_ text: Substring) -> Int? {
            guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
            return Int(text) ?? .max
        }

        private func fault(_ element: Substring, _ reason: String) -> Problem {
            var allowed = "\(bounds.lowerBound) to \(bounds.upperBound)"
            if self == .dayOfWeek { allowed += " (0 and 7 are Sunday)" }
            if let first = names.first, let last = names.last { allowed += ", \(first) to \(last)" }
            return Problem(
                .invalidRequest,
                "The \(rawValue) field of the cron expression cannot be \"\(element)\": \(reason). Allowed are \(allowed), and *; "
                    + "lists (1,5), ranges (1-5) and steps (*/2, 1-5/2) of these.")
        }
    }
}

// MARK: - Clocks and calendar

/// What the clocks of a zone show. Offsets are in seconds east of UTC, instants in seconds since 1970.
///
/// It asks Foundation for offsets alone: its list of daylight saving transitions has some that move no clock.
private struct WallClock {
    static let minutesPerDay: Int64 = 1440
    /// No zone changes its clocks twice within a day, or by more than one.
    private static let day: Int64 = 86400

    let zone: TimeZone

    func offset(at instant: Int64) -> Int64 {
        Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant))))
    }

    /// The first change of the offset after `instant`, up to and including `last`.
    func firstChange(after instant: Int64, through last: Int64) -> (instant: Int64, offset: Int64)? {
        let offset = offset(at: instant)
        var before = instant
        while before < last {
            var after = min(before + Self.day, last)
            guard self.offset(at: after) != offset else {
                before = after
                continue
            }
            while after - before > 1 {
                let middle = before + (after - before) / 2
                if self.offset(at: middle) == offset { before = middle } else { after = middle }
            }
            return (after, self.offset(at: after))
        }
        return nil
    }

    /// The last minute that the clocks showed before the last change in the day up to `instant`, or the one at its start.
    func furthestMinute(before instant: Int64) -> Int64 {
        let start = instant - Self.day
        let offset = offset(at: start)
        let end = firstChange(after: start, through: instant)?.instant ?? start
        return (end + offset - 1).flooredQuotient(by: 60)
    }
}

/// The proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
private enum CivilDate {
    /// The date of a day since 1970.
    static func of(day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let era = (day + 719_468).flooredQuotient(by: 146_097)
        let dayOfEra = day + 719_468 - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    /// The day since 1970 on which a month begins; month 13 is the next January.
    static func day(year: Int64, month: Int64) -> Int64 {
        let (year, shifted) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
        let leapDays = year.flooredQuotient(by: 4) - year.flooredQuotient(by: 100) + year.flooredQuotient(by: 400)
        return year * 365 + leapDays + (153 * shifted + 2) / 5 - 719_468
    }
}

extension Int64 {
    fileprivate func flooredQuotient(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

extension UInt64 {
    /// Whether bit `value` is set.
    fileprivate func contains(_ value: Int64) -> Bool { self >> value & 1 == 1 }

    /// The lowest bit that is set from `value` on.
    fileprivate func first(from value: Int64) -> Int64? {
        let rest = (self >> value) << value
        return rest == 0 ? nil : Int64(rest.trailingZeroBitCount)
    }
}

extension Timestamp {
    /// `nil` beyond the years that microseconds can count.
    fileprivate init?(seconds: Int64) {
        let (microseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow else { return nil }
        self.init(microseconds: microseconds)
    }
}
