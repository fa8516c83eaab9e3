import Agents
import Automation
import Domain
import HTTPTypes
import Hummingbird
import Queue

/// Runs that are started again and again.
struct ScheduleRoutes {
    let schedules: ScheduleService

    var routes: [APIRoute] {
        [
            APIRoute(.get, "/api/schedules", .scope("schedules:read")) { request, context in
                let page = try await schedules.schedules(try context.principal(), page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.post, "/api/schedules", .scope("schedules:write")) { request, context in
                let wanted = try await Self.change(request, isNew: true)
                let schedule = try await schedules.create(
                    try context.principal(), wanted, requester: context.requester)
                var response = Response.json(schedule.json, status: .created)
                response.headers[.location] = "/api/schedules/\(schedule.id)"
                return response
            },
            APIRoute(.get, "/api/schedules/{id}", .scope("schedules:read")) { _, context in
                .json(try await schedules.schedule(try context.principal(), try context.id()).json)
            },
            APIRoute(.patch, "/api/schedules/{id}", .scope("schedules:write")) { request, context in
                let id: ScheduleID = try context.id()
                let wanted = try await Self.change(request, isNew: false)
                let schedule = try await schedules.change(
                    try context.principal(), id, wanted, requester: context.requester)
                return .json(schedule.json)
            },
            APIRoute(.delete, "/api/schedules/{id}", .scope("schedules:write")) { _, context in
                try await schedules.delete(try context.principal(), try context.id(), requester: context.requester)
                return .noContent
            },
            APIRoute(.post, "/api/schedules/{id}/run", .scope("schedules:write")) { _, context in
                let firing = try await schedules.run(
                    try context.principal(), try context.id(), requester: context.requester)
                return .json(firing.json, status: .accepted)
            },
            APIRoute(.get, "/api/schedules/{id}/firings", .scope("schedules:read")) { request, context in
                let page = try await schedules.firings(
                    try context.principal(), of: try context.id(), page: try request.page())
                return .json(page.json(\.json))
            },
        ]
    }

    private static func change(_ request: Request, isNew: Bool) async throws -> ScheduleChange {
        var fields = try RequestFields(await request.json())
        var change = ScheduleChange()
        change.name = fields.optionalString("name", length: Schedule.nameCharacters)
        change.cron = fields.optionalString("cron", length: Schedule.cronCharacters)
        change.zone = fields.optionalString("timeZone", length: Schedule.zoneCharacters)
        if let text = fields.optionalString("missed", length: 1...20) {
            change.missed = Schedule.Missed(rawValue: text)
            let known = Schedule.Missed.allCases.map(\.rawValue).joined(separator: ", ")
            if change.missed == nil { fields.fault("missed", "must be one of \(known)") }
        }
        change.isPaused = fields.optionalBool("paused")
        change.request = fields.nested("run") { RunRoutes.request(&$0) }
        for name in ["name", "cron", "run"] where isNew && !fields.has(name) { fields.fault(name, "is required") }
        try fields.finish()
        return change
    }
}

extension Schedule {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "name": .string(name), "cron": .string(recurrence.cron.text),
            "timeZone": .string(recurrence.zoneName), "missed": .string(missed.rawValue), "run": request.json,
            "userId": .string("\(principal.user)"), "createdAt": JSONValue(createdAt), "updatedAt": JSONValue(updatedAt),
            "pausedAt": JSONValue(pausedAt), "nextTimes": .array(nextTimes.map { JSONValue($0) }),
        ]
    }
}

extension ScheduleFiring {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "scheduleId": .string("\(schedule)"), "time": JSONValue(time),
            "trigger": .string(cause.rawValue), "outcome": .string(outcome.rawValue), "error": JSONValue(error),
            "runId": outcome == .started ? .string("\(run)") : .null, "createdAt": JSONValue(createdAt),
        ]
    }
}
