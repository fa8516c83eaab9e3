import Domain
import Foundation
import Queue
import Testing

/// An expression, where its clock stands, and the instants at which it fires.
struct CronFirings: Sendable, CustomTestStringConvertible {
    let expression: String
    let zone: String
    let after: String
    let expected: [String]

    init(_ expression: String, in zone: String = "UTC", after: String, _ expected: [String]) {
        (self.expression, self.zone, self.after, self.expected) = (expression, zone, after, expected)
    }

    var testDescription: String { "\(expression) in \(zone) after \(after)" }

    func check() throws {
        let cron = try CronExpression(expression)
        let zone = try CronExpression.zone(named: zone)
        let firings = try cron.firings(
            after: instant(after), through: instant("2200-01-01T00:00:00Z"), in: zone, limit: expected.count)
        #expect(firings.map(text) == expected)
    }
}

private func instant(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text)) }

/// To the second, as none of these fires at a fraction of one.
private func text(_ time: Timestamp) -> String { time.iso8601.replacing(".000Z", with: "Z") }

/// 1 January 2026 is a Thursday.
private let fields: [CronFirings] = [
    CronFirings("* * * * *", after: "2026-01-01T10:00:00Z", ["2026-01-01T10:01:00Z", "2026-01-01T10:02:00Z"]),
    CronFirings("* * * * *", after: "2026-01-01T10:00:59.999Z", ["2026-01-01T10:01:00Z"]),
    CronFirings("* * * * *", after: "2026-01-01T10:00:00.001Z", ["2026-01-01T10:01:00Z"]),
    CronFirings("* * * * *", after: "1969-12-31T23:58:30.5Z", ["1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z"]),
    CronFirings(
        "*/25 * * * *", after: "2026-01-01T10:00:00Z", ["2026-01-01T10:25:00Z", "2026-01-01T10:50:00Z", "2026-01-01T11:00:00Z"]),
    CronFirings(
        "1-30/14 9 * * *", after: "2026-01-01T00:00:00Z",
        ["2026-01-01T09:01:00Z", "2026-01-01T09:15:00Z", "2026-01-01T09:29:00Z", "2026-01-02T09:01:00Z"]),
    CronFirings(
        "5,50-51,*/40 23 * * *", after: "2026-01-01T23:05:00Z",
        ["2026-01-01T23:40:00Z", "2026-01-01T23:50:00Z", "2026-01-01T23:51:00Z", "2026-01-02T23:00:00Z"]),
    CronFirings("05 08 * * *", after: "2026-12-31T08:05:00Z", ["2027-01-01T08:05:00Z"]),
    CronFirings("  0\t 12   1 JAN,Mar *\n", after: "2026-01-01T12:00:00Z", ["2026-03-01T12:00:00Z", "2027-01-01T12:00:00Z"]),
    CronFirings(
        "0 0 1 apr-jun/2 *", after: "2026-01-01T00:00:00Z",
        ["2026-04-01T00:00:00Z", "2026-06-01T00:00:00Z", "2027-04-01T00:00:00Z"]),
    CronFirings(
        "0 0 31 * *", after: "2026-01-31T00:00:00Z", ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z", "2026-07-31T00:00:00Z"]),
    CronFirings(
        "0 9 * * MON-fri", after: "2026-01-01T09:00:00Z",
        ["2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z", "2026-01-06T09:00:00Z"]),
    CronFirings(
        "0 9 * * fri-sun", after: "2026-01-01T09:00:00Z",
        ["2026-01-02T09:00:00Z", "2026-01-03T09:00:00Z", "2026-01-04T09:00:00Z", "2026-01-09T09:00:00Z"]),
    CronFirings("0 9 * * 0", after: "2026-01-01T09:00:00Z", ["2026-01-04T09:00:00Z", "2026-01-11T09:00:00Z"]),
    CronFirings("0 9 * * 7", after: "2026-01-01T09:00:00Z", ["2026-01-04T09:00:00Z", "2026-01-11T09:00:00Z"]),
    CronFirings(
        "0 9 * * sun-mon", after: "2026-01-01T09:00:00Z",
        ["2026-01-04T09:00:00Z", "2026-01-05T09:00:00Z", "2026-01-11T09:00:00Z"]),
    CronFirings(
        "0 9 * * 6-7", after: "2026-01-01T09:00:00Z", ["2026-01-03T09:00:00Z", "2026-01-04T09:00:00Z", "2026-01-10T09:00:00Z"]),
    CronFirings(
        "0 9 * * */2", after: "2026-01-01T09:00:00Z", ["2026-01-03T09:00:00Z", "2026-01-04T09:00:00Z", "2026-01-06T09:00:00Z"]),
]

/// `0 0 * * *` and the like fire on the same days in a zone without changes, at its own midnight.
private let nicknames: [CronFirings] = [
    CronFirings(
        "@hourly", in: "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", ["2026-01-01T00:15:00Z", "2026-01-01T01:15:00Z"]),
    CronFirings("@daily", in: "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", ["2026-01-01T18:15:00Z", "2026-01-02T18:15:00Z"]),
    CronFirings("@Midnight", in: "Asia/Kathmandu", after: "2026-01-01T18:15:00Z", ["2026-01-02T18:15:00Z"]),
    CronFirings(
        "@weekly", in: "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", ["2026-01-03T18:15:00Z", "2026-01-10T18:15:00Z"]),
    CronFirings(
        "@monthly", in: "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", ["2026-01-31T18:15:00Z", "2026-02-28T18:15:00Z"]),
    CronFirings(
        "@yearly", in: "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", ["2026-12-31T18:15:00Z", "2027-12-31T18:15:00Z"]),
    CronFirings(" @annually ", in: "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", ["2026-12-31T18:15:00Z"]),
]

private let days: [CronFirings] = [
    // Both are restricted: one is enough.
    CronFirings(
        "0 0 13 * fri", after: "2026-02-01T00:00:00Z",
        ["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z", "2026-02-27T00:00:00Z", "2026-03-06T00:00:00Z"]),
    CronFirings(
        "30 4 1,15 * 5", after: "2026-01-09T12:00:00Z", ["2026-01-15T04:30:00Z", "2026-01-16T04:30:00Z", "2026-01-23T04:30:00Z"]),
    CronFirings("0 0 30 2 mon", after: "2026-02-20T00:00:00Z", ["2026-02-23T00:00:00Z", "2027-02-01T00:00:00Z"]),
    // All days, but written as a range, is a restriction.
    CronFirings("0 0 13 * 0-6", after: "2026-02-01T00:00:00Z", ["2026-02-02T00:00:00Z", "2026-02-03T00:00:00Z"]),
    CronFirings("0 0 1-31 * fri", after: "2026-02-01T00:00:00Z", ["2026-02-02T00:00:00Z", "2026-02-03T00:00:00Z"]),
    // One starts with an asterisk: both must match.
    CronFirings(
        "0 0 */2 * mon", after: "2026-02-01T00:00:00Z", ["2026-02-09T00:00:00Z", "2026-02-23T00:00:00Z", "2026-03-09T00:00:00Z"]),
    CronFirings(
        "0 0 13 * */5", after: "2026-02-01T00:00:00Z", ["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z", "2026-09-13T00:00:00Z"]),
    CronFirings("0 0 13 * *", after: "2026-02-01T00:00:00Z", ["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"]),
]

private let leapDays: [CronFirings] = [
    CronFirings("0 0 29 2 *", after: "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
    CronFirings(
        "0 0 29 2 *", in: "America/New_York", after: "2028-02-29T04:59:59Z", ["2028-02-29T05:00:00Z", "2032-02-29T05:00:00Z"]),
    // 2100 is no leap year.
    CronFirings("0 0 29 2 *", after: "2096-01-01T00:00:00Z", ["2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"]),
    CronFirings("0 0 29 2 */7", after: "2088-02-28T00:00:00Z", ["2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"]),
    CronFirings(
        "0 0 28-31 2 *", after: "2027-02-28T00:00:00Z", ["2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z", "2029-02-28T00:00:00Z"]),
]

/// Berlin goes forward from 02:00 to 03:00 at 2026-03-29T01:00Z, New York at 2026-03-08T07:00Z.
private let forward: [CronFirings] = [
    // A time that does not exist fires at the end of the gap, once.
    CronFirings(
        "30 2 * * *", in: "Europe/Berlin", after: "2026-03-28T00:00:00Z",
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
    CronFirings(
        "*/10 2 * * *", in: "Europe/Berlin", after: "2026-03-29T00:00:00Z",
        ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T00:10:00Z"]),
    CronFirings(
        "0 2,3 * * *", in: "Europe/Berlin", after: "2026-03-29T00:00:00Z",
        ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T01:00:00Z"]),
    CronFirings(
        "30 1-3 * * *", in: "Europe/Berlin", after: "2026-03-29T00:00:00Z",
        ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T23:30:00Z"]),
    CronFirings(
        "30 2 29 3 *", in: "Europe/Berlin", after: "2026-01-01T00:00:00Z", ["2026-03-29T01:00:00Z", "2027-03-29T00:30:00Z"]),
    CronFirings(
        "59 1 * * *", in: "Europe/Berlin", after: "2026-03-29T00:00:00Z", ["2026-03-29T00:59:00Z", "2026-03-29T23:59:00Z"]),
    CronFirings(
        "30 2 * * *", in: "America/New_York", after: "2026-03-07T12:00:00Z", ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]),
    // All hours: by elapsed time, without the hour that does not exist.
    CronFirings(
        "*/30 * * * *", in: "Europe/Berlin", after: "2026-03-29T00:00:00Z",
        ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]),
    CronFirings(
        "15 * * * *", in: "America/New_York", after: "2026-03-08T06:00:00Z",
        ["2026-03-08T06:15:00Z", "2026-03-08T07:15:00Z", "2026-03-08T08:15:00Z"]),
    CronFirings(
        "0 */2 * * *", in: "Europe/Berlin", after: "2026-03-28T22:00:00Z",
        ["2026-03-28T23:00:00Z", "2026-03-29T02:00:00Z", "2026-03-29T04:00:00Z"]),
]

/// Berlin goes back from 03:00 to 02:00 at 2026-10-25T01:00Z, New York from 02:00 to 01:00 at 2026-11-01T06:00Z.
private let back: [CronFirings] = [
    // A time that comes twice fires the first time.
    CronFirings(
        "30 2 * * *", in: "Europe/Berlin", after: "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    CronFirings(
        "*/30 1-3 * * *", in: "Europe/Berlin", after: "2026-10-24T23:00:00Z",
        ["2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"]),
    CronFirings("0 2 * * *", in: "Europe/Berlin", after: "2026-10-25T00:00:00Z", ["2026-10-26T01:00:00Z"]),
    CronFirings("0 3 * * *", in: "Europe/Berlin", after: "2026-10-24T12:00:00Z", ["2026-10-25T02:00:00Z"]),
    // Also when asked in the second pass, or at its very start.
    CronFirings("45 2 * * *", in: "Europe/Berlin", after: "2026-10-25T01:10:00Z", ["2026-10-26T01:45:00Z"]),
    CronFirings("59 2 * * *", in: "Europe/Berlin", after: "2026-10-25T01:00:00Z", ["2026-10-26T01:59:00Z"]),
    CronFirings("59 2 * * *", in: "Europe/Berlin", after: "2026-10-25T00:59:00Z", ["2026-10-26T01:59:00Z"]),
    CronFirings("59 2 * * *", in: "Europe/Berlin", after: "2026-10-25T00:58:59Z", ["2026-10-25T00:59:00Z"]),
    CronFirings(
        "30 1 * * *", in: "America/New_York", after: "2026-11-01T00:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
    CronFirings("30 1 * * *", in: "America/New_York", after: "2026-11-01T06:15:00Z", ["2026-11-02T06:30:00Z"]),
    // All hours: in both passes.
    CronFirings(
        "*/30 * * * *", in: "Europe/Berlin", after: "2026-10-24T23:45:00Z",
        ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]),
    CronFirings(
        "15 * * * *", in: "America/New_York", after: "2026-11-01T05:00:00Z",
        ["2026-11-01T05:15:00Z", "2026-11-01T06:15:00Z", "2026-11-01T07:15:00Z"]),
    CronFirings(
        "0 */2 * * *", in: "Europe/Berlin", after: "2026-10-24T23:00:00Z",
        ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T03:00:00Z"]),
    CronFirings(
        "30 * 25 10 *", in: "Europe/Berlin", after: "2026-10-25T00:30:00Z", ["2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]),
]

private let oddZones: [CronFirings] = [
    // Lord Howe goes forward by half an hour, 02:00 to 02:30 at 2026-10-03T15:30Z, back at 2026-04-04T15:00Z.
    CronFirings(
        "15 2 * * *", in: "Australia/Lord_Howe", after: "2026-10-03T00:00:00Z", ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]),
    CronFirings(
        "45 2 * * *", in: "Australia/Lord_Howe", after: "2026-10-03T00:00:00Z", ["2026-10-03T15:45:00Z", "2026-10-04T15:45:00Z"]),
    CronFirings(
        "*/15 * * * *", in: "Australia/Lord_Howe", after: "2026-10-03T15:00:00Z",
        ["2026-10-03T15:15:00Z", "2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z", "2026-10-03T16:00:00Z"]),
    CronFirings(
        "45 1 * * *", in: "Australia/Lord_Howe", after: "2026-04-04T12:00:00Z", ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]),
    CronFirings(
        "45 * * * *", in: "Australia/Lord_Howe", after: "2026-04-04T14:00:00Z",
        ["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z", "2026-04-04T16:15:00Z"]),
    // There was no midnight on 6 October 2024 in Asuncion: 00:00 to 01:00 at 04:00Z.
    CronFirings(
        "0 0 * * *", in: "America/Asuncion", after: "2024-10-05T12:00:00Z", ["2024-10-06T04:00:00Z", "2024-10-07T03:00:00Z"]),
    CronFirings(
        "0 0 6 * *", in: "America/Asuncion", after: "2024-10-05T12:00:00Z", ["2024-10-06T04:00:00Z", "2024-11-06T03:00:00Z"]),
    CronFirings(
        "@hourly", in: "America/Asuncion", after: "2024-10-06T02:00:00Z", ["2024-10-06T03:00:00Z", "2024-10-06T04:00:00Z"]),
    // 23 March 2024 had its last hour twice.
    CronFirings(
        "30 23 * * *", in: "America/Asuncion", after: "2024-03-23T12:00:00Z", ["2024-03-24T02:30:00Z", "2024-03-25T03:30:00Z"]),
    CronFirings(
        "0 0 * * *", in: "America/Asuncion", after: "2024-03-23T12:00:00Z", ["2024-03-24T04:00:00Z", "2024-03-25T04:00:00Z"]),
    CronFirings(
        "30 * 23 3 *", in: "America/Asuncion", after: "2024-03-24T02:00:00Z",
        ["2024-03-24T02:30:00Z", "2024-03-24T03:30:00Z", "2025-03-23T03:30:00Z"]),
    // Nor one on 24 April 2026 in Cairo; 29 October 2026 has its last hour twice.
    CronFirings(
        "0 0 * * *", in: "Africa/Cairo", after: "2026-04-23T12:00:00Z", ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"]),
    CronFirings(
        "0 0 * * fri", in: "Africa/Cairo", after: "2026-10-29T12:00:00Z", ["2026-10-29T22:00:00Z", "2026-11-05T22:00:00Z"]),
    // Samoa left out 30 December 2011.
    CronFirings(
        "0 12 * * *", in: "Pacific/Apia", after: "2011-12-29T12:00:00Z",
        ["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]),
    // Kazakhstan changed its zone, not its daylight saving, on 1 March 2024.
    CronFirings(
        "30 23 * * *", in: "Asia/Almaty", after: "2024-02-29T12:00:00Z", ["2024-02-29T17:30:00Z", "2024-03-01T18:30:00Z"]),
    CronFirings(
        "0 9 * * *", in: "Asia/Kathmandu", after: "2026-03-01T03:00:00Z", ["2026-03-01T03:15:00Z", "2026-03-02T03:15:00Z"]),
]

/// An expression and what its error says.
private let faults: [(String, String)] = [
    ("", "five fields: minute, hour, day of month, month, and day of week. This one has 0."),
    ("* * * *", "This one has 4."),
    ("0 0 12 * * *", "This one has 6."),
    ("@reboot", "no cron nickname \"@reboot\". There are @annually, @daily, @hourly, @midnight, @monthly, @weekly, @yearly."),
    ("60 * * * *", "The minute field of the cron expression cannot be \"60\": 60 is out of range. Allowed are 0 to 59, and *;"),
    ("* 24 * * *", "The hour field of the cron expression cannot be \"24\": 24 is out of range. Allowed are 0 to 23, and *;"),
    ("* * 0 * *", "The day of month field of the cron expression cannot be \"0\": 0 is out of range. Allowed are 1 to 31,"),
    ("* * 1-32 * *", "cannot be \"1-32\": 32 is out of range"),
    (
        "* * * 13 *",
        "The month field of the cron expression cannot be \"13\": 13 is out of range. Allowed are 1 to 12, jan to dec,"
    ),
    ("* * * * 8", "cannot be \"8\": 8 is out of range. Allowed are 0 to 7 (0 and 7 are Sunday), sun to sat, and *;"),
    ("* * * may,june *", "cannot be \"june\": \"june\" is no value of this field"),
    ("* mon * * *", "The hour field of the cron expression cannot be \"mon\""),
    ("99999999999999999999 * * * *", "99999999999999999999 is out of range"),
    ("+5 * * * *", "\"+5\" is no value of this field"),
    ("٣ * * * *", "\"٣\" is no value of this field"),
    ("1,,2 * * * *", "a value is missing"),
    ("5- * * * *", "a value is missing"),
    ("-5 * * * *", "a value is missing"),
    ("1-2-3 * * * *", "\"2-3\" is no value of this field"),
    ("** * * * *", "\"**\" is no value of this field"),
    ("50-10 * * * *", "the range ends before it begins"),
    ("* * * * fri-mon", "the range ends before it begins"),
    ("* * * * 6-0", "the range ends before it begins"),
    ("3/5 * * * *", "a step needs * or a range before it, as in 3-59/5"),
    ("*/0 * * * *", "a step is a number from 1 to 60"),
    ("*/90 * * * *", "a step is a number from 1 to 60"),
    ("* * * * */8", "a step is a number from 1 to 7"),
    ("*/ * * * *", "a step is a number from 1 to 60"),
    ("1-9/2/2 * * * *", "a step is a number from 1 to 60"),
    ("0 0 L * ?", "The day of month field of the cron expression cannot be \"L\""),
    ("0 0 30 2 *", "never fires: its day of month is 30 or later, and its months have at most 29 days."),
    ("0 0 31 feb,apr,jun */7", "never fires: its day of month is 31 or later, and its months have at most 30 days."),
]

/// Expressions of both kinds, for the check against a clock that is watched.
private let watched = [
    "* * * * *", "*/20 * * * *", "7 */3 * * *", "0 0 * * *", "30 2 * * *", "*/15 1-3 * * *", "0,59 0,1,2,23 * * *",
    "15 * */2 * 0-3", "45 0-23 * * sat,sun", "10-50/20 23,0 29-31 3,10 5",
]

/// Zones and instants at which their clocks are changed.
private let changes: [(String, String)] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"), ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"), ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"), ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"), ("Africa/Cairo", "2026-10-29T21:00:00Z"),
    ("America/Asuncion", "2024-10-06T04:00:00Z"), ("America/Asuncion", "2024-03-24T03:00:00Z"),
]

@Suite("Cron expressions")
struct CronExpressionTests {
    @Test("Fields are numbers, names, ranges, steps and lists", arguments: fields)
    func fieldsMatch(firings: CronFirings) throws { try firings.check() }

    @Test("Nicknames stand for fields", arguments: nicknames)
    func nicknamesMatch(firings: CronFirings) throws { try firings.check() }

    @Test("Two restricted days are alternatives, an asterisk is no restriction", arguments: days)
    func daysMatch(firings: CronFirings) throws { try firings.check() }

    @Test("29 February is found however far it is", arguments: leapDays)
    func leapDaysMatch(firings: CronFirings) throws { try firings.check() }

    @Test("When clocks go forward, what is skipped fires once at the end of the gap", arguments: forward)
    func clocksForward(firings: CronFirings) throws { try firings.check() }

    @Test("When clocks go back, a named hour fires once and every hour twice", arguments: back)
    func clocksBack(firings: CronFirings) throws { try firings.check() }

    @Test("Half hours, changes at midnight and days that do not exist", arguments: oddZones)
    func oddZonesMatch(firings: CronFirings) throws { try firings.check() }

    @Test("A fault names its field and what is allowed", arguments: faults)
    func faultsAreClear(expression: String, detail: String) throws {
        let problem = #expect(throws: Problem.self) { try CronExpression(expression) }
        #expect(problem?.code == .invalidRequest)
        #expect(problem?.detail.contains(detail) == true, "\(problem?.detail ?? "")")
    }

    @Test("An expression is bounded, and kept as it was given")
    func text() throws {
        let longest = "0" + String(repeating: ",0", count: 123) + " * * * *"
        #expect(try CronExpression(" " + longest).text == longest)
        let problem = #expect(throws: Problem.self) { try CronExpression("  " + longest) }
        #expect(problem?.detail == "A cron expression has at most 256 characters.")
        #expect(try CronExpression(" @Daily\n").text == "@Daily")
        #expect(try CronExpression(" 0 9  * * MON ").text == "0 9  * * MON")
    }

    @Test("Firings end with the last instant, which belongs to them, or with the limit")
    func bounds() throws {
        let (cron, zone) = (try CronExpression("@hourly"), try CronExpression.zone(named: "UTC"))
        let (after, last) = (try instant("2026-01-01T00:00:00Z"), try instant("2026-01-01T03:00:00Z"))
        #expect(cron.firings(after: after, through: last, in: zone, limit: 10).count == 3)
        #expect(cron.firings(after: after, through: last, in: zone, limit: 2).count == 2)
        #expect(cron.firings(after: after, through: last, in: zone, limit: 0).isEmpty)
        #expect(cron.firings(after: after, through: last, in: zone, limit: -1).isEmpty)
        #expect(cron.firings(after: last, through: after, in: zone, limit: 10).isEmpty)
    }

    @Test("The ends of time are no fault", arguments: ["* * * * *", "30 2 * * *", "0 0 29 2 */7"])
    func endsOfTime(expression: String) throws {
        let (cron, zone) = (try CronExpression(expression), try CronExpression.zone(named: "America/New_York"))
        #expect(cron.next(after: Timestamp(microseconds: .max), in: zone) == nil)
        #expect(cron.next(after: Timestamp(microseconds: .min), in: zone) != nil)
    }

    @Test("Around a change, an expression fires as one who watches the clock would", arguments: changes)
    func watchedClock(zone name: String, change: String) throws {
        let zone = try CronExpression.zone(named: name)
        let (start, end) = (try instant(change).adding(.seconds(-30 * 3600)), try instant(change).adding(.seconds(30 * 3600)))
        for text in watched {
            let cron = try CronExpression(text)
            let firings = cron.firings(after: start, through: end, in: zone, limit: 5000)
            #expect(firings == watch(text, after: start, through: end, in: zone), "\(text)")
            // From any instant between, the next firing is the same.
            for offset in stride(from: -7200, through: 7200, by: 613) {
                let time = try instant(change).adding(.seconds(offset))
                let next = firings.first { $0 > time }
                #expect(next == nil || cron.next(after: time, in: zone) == next, "\(text) after \(time.iso8601)")
            }
        }
    }

    @Test("Firings increase, and each matches its fields", arguments: ["UTC", "Asia/Kathmandu", "Europe/Berlin"])
    func increasing(zone name: String) throws {
        let zone = try CronExpression.zone(named: name)
        var random = SplitMix(state: 20_260_101)
        for _ in 0..<150 {
            // Hours at which no clock of these zones is changed.
            let hours = [4, 9, 17, 22].filter { _ in random.next() % 2 == 0 }.map(String.init)
            let text = [
                "\(random.next() % 60),\(random.next() % 20)-59/\(random.next() % 9 + 1)",
                hours.isEmpty ? "5-20" : hours.joined(separator: ","), random.next() % 2 == 0 ? "*" : "\(random.next() % 29 + 1)",
                random.next() % 2 == 0 ? "*/3" : "\(random.next() % 12 + 1)",
                random.next() % 2 == 0 ? "*" : "\(random.next() % 8)",
            ].joined(separator: " ")
            let matcher = Matcher(text)
            var time = Timestamp(microseconds: Int64(random.next() % 2_000_000_000) * 1_000_000 + 7)
            for firing in try CronExpression(text).firings(
                after: time, through: Timestamp(microseconds: .max), in: zone, limit: 5)
            {
                #expect(firing > time)
                #expect(firing.microseconds % 60_000_000 == 0)
                #expect(matcher.matches(minute: clockMinute(firing, in: zone)), "\(text) at \(firing.iso8601)")
                time = firing
            }
        }
    }

    @Test(
        "Zones have the names of IANA",
        arguments: ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kathmandu", "Etc/GMT-3"])
    func zones(name: String) throws {
        #expect(try CronExpression.zone(named: name).identifier == name)
    }

    @Test("UTC is a zone") func utc() throws { #expect(try CronExpression.zone(named: "UTC").secondsFromGMT() == 0) }

    @Test(
        "Abbreviations and what is unknown are no zones",
        arguments: ["", "EST", "CET", "GMT+2", "utc", "europe/berlin", "Europe/Berlin ", "Mars/Olympus", "../etc/passwd", "/"])
    func noZones(name: String) {
        let problem = #expect(throws: Problem.self) { try CronExpression.zone(named: name) }
        #expect(problem?.code == .invalidRequest)
        #expect(
            problem?.detail
                == "There is no time zone \"\(name)\". Give a name of the IANA database, such as Europe/Berlin, or UTC.")
    }
}

/// Minutes since 1970 on the clocks of a zone.
private func clockMinute(_ time: Timestamp, in zone: TimeZone) -> Int {
    let seconds = Int(time.microseconds / 1_000_000)
    return (seconds + zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds)))) / 60
}

/// What the documentation says, minute by minute: all hours fire whenever the clock matches, named hours when it comes to
/// or past a time that it never had come to.
private func watch(_ text: String, after start: Timestamp, through end: Timestamp, in zone: TimeZone) -> [Timestamp] {
    let matcher = Matcher(text)
    var furthest = clockMinute(start, in: zone)
    var firings: [Timestamp] = []
    for time in stride(from: start.microseconds + 60_000_000, through: end.microseconds, by: 60_000_000) {
        let time = Timestamp(microseconds: time)
        let minute = clockMinute(time, in: zone)
        let reached = matcher.isEveryHour ? minute..<(minute + 1) : (furthest + 1)..<max(furthest + 1, minute + 1)
        if reached.contains(where: matcher.matches) { firings.append(time) }
        furthest = max(furthest, minute)
    }
    return firings
}

/// Another reading of an expression, which knows nothing of faults: sets instead of bits, a date from Foundation's calendar.
private final class Matcher {
    private let values: [Set<Int>]
    private let eitherDay: Bool
    let isEveryHour: Bool
    private var dates: [Int: Bool] = [:]

    private static let calendar: Calendar = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()

    init(_ text: String) {
        let fields = text.replacing("sat", with: "6").replacing("sun", with: "0").split(separator: " ")
        isEveryHour = fields[1].hasPrefix("*")
        eitherDay = !fields[2].hasPrefix("*") && !fields[4].hasPrefix("*")
        values = zip(fields, [0...59, 0...23, 1...31, 1...12, 0...7]).map { field, all in
            field.split(separator: ",").reduce(into: []) { set, element in
                let parts = element.split(separator: "/")
                let ends =
                    parts[0] == "*" ? [all.lowerBound, all.upperBound] : parts[0].split(separator: "-").compactMap { Int($0) }
                set.formUnion(stride(from: ends[0], through: ends[ends.count - 1], by: parts.count == 2 ? Int(parts[1]) ?? 1 : 1))
            }
        }
    }

    func matches(minute: Int) -> Bool {
        values[0].contains(minute % 60) && values[1].contains(minute / 60 % 24) && matches(day: minute / 1440)
    }

    private func matches(day: Int) -> Bool {
        if let known = dates[day] { return known }
        let date = Self.calendar.dateComponents([.month, .day, .weekday], from: Date(timeIntervalSince1970: Double(day) * 86400))
        let weekday = (date.weekday ?? 0) - 1
        let (byDate, byWeekday) = (
            values[2].contains(date.day ?? 0), values[4].contains(weekday) || weekday == 0 && values[4].contains(7)
        )
        let matches = values[3].contains(date.month ?? 0) && (eitherDay ? byDate || byWeekday : byDate && byWeekday)
        dates[day] = matches
        return matches
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers each time.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
