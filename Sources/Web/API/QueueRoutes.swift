import Accounts
import Domain
import HTTPTypes
import Hummingbird
import Operations
import Queue

/// The queues of all tenants, for operators.
struct QueueRoutes {
    let queues: QueueService

    var routes: [APIRoute] { ofQueues + ofJobs }

    private var ofQueues: [APIRoute] {
        [
            APIRoute(.get, "/api/queues", .scope("platform:read")) { _, _ in
                .json(["items": .array(try await queues.queues().map(\.json))])
            },
            APIRoute(.get, "/api/queues/{queue}", .scope("platform:read")) { _, context in
                .json(try await queues.queue(Self.kind(context)).json)
            },
            APIRoute(.patch, "/api/queues/{queue}", .scope("platform:write")) { request, context in
                try await change(request, context)
            },
            APIRoute(.get, "/api/queues/{queue}/shares", .scope("platform:read")) { request, context in
                let page = try await queues.shares(Self.kind(context), page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.put, "/api/queues/{queue}/shares/{id}", .scope("platform:write")) { request, context in
                let tenant: TenantID = try context.id()
                var fields = try RequestFields(await request.json())
                let weight = fields.optionalInt("weight", in: QueueShare.weights) ?? 1
                let concurrency = fields.optionalInt("concurrency", in: QueueShare.concurrencies)
                try fields.finish()
                let share = QueueShare(tenant: tenant, weight: weight, concurrency: concurrency)
                try await queues.setShare(Self.kind(context), share, requester: context.requester)
                return .json(share.json)
            },
            APIRoute(.delete, "/api/queues/{queue}/shares/{id}", .scope("platform:write")) { _, context in
                try await queues.removeShare(Self.kind(context), of: try context.id(), requester: context.requester)
                return .noContent
            },
            APIRoute(.get, "/api/queues/{queue}/jobs", .scope("platform:read")) { request, context in
                let page = try await queues.jobs(
                    Self.kind(context), in: try Self.state(request), page: try request.page(), requester: context.requester)
                return .json(page.json(\.json))
            },
        ]
    }

    private static func kind(_ context: APIContext) -> JobKind { JobKind(rawValue: context.parameters.get("queue") ?? "") }

    private static func state(_ request: Request) throws(Problem) -> JobState {
        let text = request.query("state") ?? JobState.discarded.rawValue
        guard let state = JobState(rawValue: text) else {
            throw Problem(.invalidRequest, "state must be one of \(JobState.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        return state
    }

    private func change(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.json()
        var fields = try RequestFields(body)
        var change = QueueChange(isPaused: fields.optionalBool("paused"))
        let bound = fields.optionalInt("tenantConcurrency", in: QueueShare.concurrencies)
        // Null lifts the bound, and what is absent stays.
        if body["tenantConcurrency"] != nil { change.tenantConcurrency = .some(bound) }
        try fields.finish()
        return .json(try await queues.change(Self.kind(context), change, requester: context.requester).json)
    }

    private var ofJobs: [APIRoute] {
        [
            APIRoute(.get, "/api/jobs/{id}", .scope("platform:read")) { _, context in
                .json(try await queues.job(try context.id(), requester: context.requester).json)
            },
            APIRoute(.patch, "/api/jobs/{id}", .scope("platform:write")) { request, context in
                .json(try await queues.edit(try context.id(), try await Self.edit(request), requester: context.requester).json)
            },
            APIRoute(.post, "/api/jobs/{id}/retry", .scope("platform:write")) { _, context in
                .json(try await queues.requeue(try context.id(), requester: context.requester).json)
            },
            APIRoute(.post, "/api/jobs/{id}/discard", .scope("platform:write")) { _, context in
                .json(try await queues.giveUp(try context.id(), requester: context.requester).json)
            },
        ]
    }

    private static func edit(_ request: Request) async throws -> JobEdit {
        var fields = try RequestFields(await request.json())
        let payload = fields.optionalObject("payload")
        if let payload, payload.text.utf8.count > JobEdit.maximumPayloadBytes {
            fields.fault("payload", "must be at most \(JobEdit.maximumPayloadBytes) bytes")
        }
        let name = fields.optionalString("priority", length: 1...20)
        let priority = name.flatMap { JobPriority(name: $0) }
        if name != nil, priority == nil {
            fields.fault("priority", "must be one of \(JobPriority.allCases.map(\.name).joined(separator: ", "))")
        }
        let attempts = fields.optionalInt("maximumAttempts", in: JobEdit.attempts)
        try fields.finish()
        return JobEdit(payload: payload, priority: priority, maximumAttempts: attempts)
    }
}

extension QueueSummary {
    /// Of every state that a job can wait in, also where none does.
    private static let counted: [JobState] = [.scheduled, .available, .executing, .retryable, .discarded]

    var json: JSONValue {
        let counts = Self.counted.map { state in
            (state.rawValue, JSONValue.int(Int64(depths.first { $0.state == state }?.count ?? 0)))
        }
        return [
            "name": .string(kind.rawValue), "pausedAt": JSONValue(pausedAt), "tenantConcurrency": JSONValue(tenantConcurrency),
            "jobs": .object(Dictionary(uniqueKeysWithValues: counts)),
            "oldestAvailableAt": JSONValue(depths.first { $0.state == .available }?.oldest),
        ]
    }
}

extension QueueShare {
    var json: JSONValue {
        ["tenantId": .string("\(tenant)"), "weight": .int(Int64(weight)), "concurrency": JSONValue(concurrency)]
    }
}

extension JobRecord {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "tenantId": .string("\(tenant)"), "queue": .string(kind.rawValue),
            "subject": .string("\(Identifier<Void>(subject))"), "payload": payload, "state": .string(state.rawValue),
            "priority": .string(priority.name), "attempt": .int(Int64(attempt)), "maximumAttempts": .int(Int64(maximumAttempts)),
            "lastError": JSONValue(lastError), "worker": JSONValue(worker), "createdAt": JSONValue(createdAt),
            "runAt": JSONValue(runAt), "startedAt": JSONValue(startedAt), "finishedAt": JSONValue(finishedAt),
        ]
    }
}
