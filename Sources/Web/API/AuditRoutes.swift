import Accounts
import Domain
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// What was done, and what was used.
struct AuditRoutes {
    /// Groups that one answer holds.
    static let maximumUsageGroups = 1000
    /// Usage is asked for over at most this time.
    static let maximumUsageDays: Int64 = 400
    private static let defaultUsageDays: Int64 = 30

    let audit: AuditService
    let usage: any UsageStore
    let ambient: Ambient

    var routes: [APIRoute] {
        [
            APIRoute(.get, "/api/audit-logs", .scope("audit:read")) { request, context in
                let page = try await audit.entries(
                    try context.principal(), try filter(request), page: try request.page(), requester: context.requester)
                return Self.response(page, request)
            },
            APIRoute(.get, "/api/platform/audit-logs", .scope("platform:read")) { request, context in
                let page = try await audit.platformEntries(
                    try filter(request), page: try request.page(), requester: context.requester)
                return Self.response(page, request)
            },
            APIRoute(.get, "/api/usage", .scope("usage:read")) { try await used($0, $1) },
        ]
    }

    // MARK: Audit

    private func filter(_ request: Request) throws(Problem) -> AuditFilter {
        var filter = AuditFilter(from: try request.time("from"), to: try request.time("to"))
        if let text = request.query("action") {
            guard let action = AuditAction(rawValue: text) else {
                let known = AuditAction.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem(.invalidRequest, "action must be one of \(known).")
            }
            filter.action = action
        }
        if let text = request.query("userId") {
            guard let user = UserID(text) else { throw Problem(.invalidRequest, "userId must be a UUID.") }
            filter.user = user
        }
        return filter
    }

    private static func response(_ page: Page<AuditEntry>, _ request: Request) -> Response {
        guard request.headers[.accept]?.contains("text/csv") == true else { return .json(page.json(\.json)) }
        var headers: HTTPFields = [
            .contentType: "text/csv; charset=utf-8; header=present", .cacheControl: "no-store",
            .contentDisposition: "attachment; filename=\"audit-logs.csv\"",
        ]
        headers[.nextCursor] = page.next?.text
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: csv(page.items))))
    }

    /// RFC 4180. What a spreadsheet would take for a formula is marked as text.
    private static func csv(_ entries: [AuditEntry]) -> String {
        let header = "time,id,action,userId,apiKeyId,address,requestId,target,details"
        let rows = entries.map { entry in
            [
                entry.time.iso8601, "\(entry.id)", entry.action.rawValue, entry.requester.user.map { "\($0)" } ?? "",
                entry.requester.apiKey.map { "\($0)" } ?? "", entry.requester.address ?? "", entry.requester.requestID,
                entry.target ?? "", entry.details.text,
            ].map(cell).joined(separator: ",")
        }
        return ([header] + rows).map { $0 + "\r\n" }.joined()
    }

    private static func cell(_ text: String) -> String {
        let isFormula = text.first.map { "=+-@\t\r".contains($0) } ?? false
        return "\"" + (isFormula ? "'" : "") + text.replacingOccurrences(of: "\"", with: "\"\"") + "\""
    }

    // MARK: Usage

    private func used(_ request: Request, _ context: APIContext) async throws -> Response {
        let now = ambient.now()
        let day: Duration = .seconds(86_400)
        let to = try request.time("to") ?? now.adding(day)
        let from = try request.time("from") ?? to.adding(.zero - day * Self.defaultUsageDays)
        guard from < to, to.duration(since: from) <= day * Self.maximumUsageDays, from >= Timestamp(microseconds: 0) else {
            throw Problem(
                .invalidRequest, "from must be before to, by at most \(Self.maximumUsageDays) days, and not before 1970.")
        }
        var dimensions: [UsageDimension] = []
        let names = request.query("groupBy") ?? UsageDimension.day.rawValue
        for name in names.isEmpty ? [] : names.split(separator: ",", omittingEmptySubsequences: false) {
            guard let dimension = UsageDimension(rawValue: String(name)), !dimensions.contains(dimension) else {
                let known = UsageDimension.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem(.invalidRequest, "groupBy takes, separated by commas and each once: \(known).")
            }
            dimensions.append(dimension)
        }
        let sums = try await usage.usage(
            tenant: try context.principal().tenant, from: from, to: to, by: dimensions, limit: Self.maximumUsageGroups + 1)
        return .json([
            "from": JSONValue(from), "to": JSONValue(to),
            "items": .array(sums.prefix(Self.maximumUsageGroups).map { Self.json($0, by: dimensions) }),
            // Ask for less time, or fewer dimensions.
            "truncated": .bool(sums.count > Self.maximumUsageGroups),
        ])
    }

    private static func json(_ sum: UsageSum, by dimensions: [UsageDimension]) -> JSONValue {
        var members: [String: JSONValue] = [
            "calls": .int(sum.calls), "inputTokens": .int(sum.inputTokens), "outputTokens": .int(sum.outputTokens),
            "durationMs": .int(sum.durationMilliseconds),
        ]
        for (dimension, value) in zip(dimensions, sum.group) {
            members[dimension == .user ? "userId" : dimension.rawValue] = JSONValue(value)
        }
        return .object(members)
    }
}

extension HTTPField.Name {
    // A constant of the right form.
    static let nextCursor = HTTPField.Name("X-Next-Cursor").unsafelyUnwrapped
}
