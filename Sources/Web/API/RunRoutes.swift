import Agents
import Domain
import Foundation
import HTTPTypes
import Hummingbird
import Knowledge
import NIOCore

/// Starting, watching, cancelling and resuming runs.
struct RunRoutes {
    static let maximumPromptCharacters = 100_000
    static let maximumTools = 64
    /// Seconds that a request may wait for the end of its run.
    static let waitSeconds = 1...300

    let runs: RunService
    let gateway: LiveGateway

    var routes: [APIRoute] {
        [
            APIRoute(.post, "/api/agent/runs", .scope("runs:write")) { try await create($0, $1) },
            APIRoute(.get, "/api/agent/runs", .scope("runs:read")) { request, context in
                let status = try status(request.query("status"))
                let page = try await runs.store.runs(
                    tenant: try context.principal().tenant, status: status, page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.get, "/api/agent/runs/{id}", .scope("runs:read")) { _, context in
                .json(try await run(context).json)
            },
            APIRoute(.get, "/api/agent/runs/{id}/events", .scope("runs:read")) { request, context in
                let run = try await run(context)
                let after = try cursor(request)
                return try await gateway.stream(run, after: after, on: context.channel)
            },
            APIRoute(.get, "/api/agent/runs/{id}/steps", .scope("runs:read")) { _, context in
                let run = try await run(context)
                let steps = try await runs.store.steps(tenant: run.tenant, run: run.id)
                return .json(["items": .array(steps.map(\.json))])
            },
            APIRoute(.get, "/api/agent/runs/{id}/tool-calls", .scope("runs:read")) { _, context in
                let run = try await run(context)
                let calls = try await runs.store.toolCalls(tenant: run.tenant, run: run.id)
                return .json(["items": .array(calls.map(\.json))])
            },
            APIRoute(.post, "/api/agent/runs/{id}/cancel", .scope("runs:write")) { _, context in
                let run = try await run(context)
                try await runs.cancel(tenant: run.tenant, run: run.id)
                return .json(try await self.run(context).json, status: .accepted)
            },
            APIRoute(.post, "/api/agent/runs/{id}/resume", .scope("runs:write")) { try await resume($0, $1) },
        ]
    }

    private func run(_ context: APIContext) async throws -> Run {
        let run = try await runs.store.run(tenant: try context.principal().tenant, try context.id())
        guard let run else { throw Problem.notFound("run") }
        return run
    }

    private func status(_ text: String?) throws(Problem) -> RunStatus? {
        guard let text else { return nil }
        guard let status = RunStatus(rawValue: text) else {
            let known = RunStatus.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.invalidRequest, "status must be one of \(known).")
        }
        return status
    }

    /// Where a stream goes on: `Last-Event-ID`, which browsers send by themselves, or `?after=`.
    private func cursor(_ request: Request) throws(Problem) -> Int64 {
        let cursors = try [request.headers[.lastEventID], request.query("after")].compactMap { $0 }
            .map { text throws(Problem) in
                guard let seq = Int64(text), seq >= 0 else {
                    throw Problem(
                        .invalidCursor, "Last-Event-ID and ?after= take the id of an event of this run, a number from 0.")
                }
                return seq
            }
        return cursors.first ?? 0
    }

    private func create(_ request: Request, _ context: APIContext) async throws -> Response {
        let principal = try context.principal()
        let key = try request.idempotencyKey()
        let streams = request.headers[.accept]?.contains("text/event-stream") == true
        let wait = try wait(request)
        if streams || wait != nil { try gateway.checkOpen() }
        let body = try await request.json()
        var fields = try RequestFields(body)
        let wanted = Self.request(&fields)
        try fields.finish()
        // The members are written in order, so the same request has the same digest however it was formatted.
        let digest = Digest.of("\(principal.user)\n" + body.text)
        let run = try await runs.create(
            principal, wanted, trace: context.trace, idempotency: key.map { ($0, digest) })
        if streams {
            return try await gateway.stream(run, after: 0, on: context.channel)
        }
        var response = Response.json(run.json, status: .accepted)
        if let wait { response = try await self.response(after: wait, for: run, on: context.channel) }
        response.headers[.location] = "/api/agent/runs/\(run.id)"
        return response
    }

    /// How long the answer may wait for the end of the run: `Prefer: wait=SECONDS` (RFC 7240). Other preferences are not
    /// ours, and ignored.
    private func wait(_ request: Request) throws(Problem) -> Duration? {
        for field in request.headers[values: .prefer] {
            for preference in field.split(separator: ",") {
                let parts = preference.split(separator: ";")[0].split(separator: "=", maxSplits: 1)
                guard parts.first?.trimmingCharacters(in: .whitespaces).lowercased() == "wait" else { continue }
                let value = parts.dropFirst().first.map { $0.trimmingCharacters(in: CharacterSet(charactersIn: " \t\"")) }
                guard let seconds = value.flatMap({ Int($0) }), Self.waitSeconds.contains(seconds) else {
                    throw Problem(
                        .invalidRequest,
                        "Prefer: wait takes a number of seconds from \(Self.waitSeconds.lowerBound) to \(Self.waitSeconds.upperBound)."
                    )
                }
                return .seconds(seconds)
            }
        }
        return nil
    }

    /// 200 with the run as it ended or came to wait for a person, 202 when that took longer.
    private func response(after wait: Duration, for run: Run, on channel: any Channel) async throws -> Response {
        let audience = Audience()
        ConnectionGuard.onLeave(of: channel) { audience.leave() }
        try await gateway.rest(of: run, atMost: wait, audience: audience)
        let now = try await runs.store.run(tenant: run.tenant, run.id) ?? run
        var response = Response.json(now.json, status: now.status.isAtRest ? .ok : .accepted)
        response.headers[.preferenceApplied] = "wait=\(wait.components.seconds)"
        return response
    }

    /// What is asked of a run: the members that start one, and that a schedule keeps.
    static func request(_ fields: inout RequestFields) -> RunRequest {
        var wanted = RunRequest(prompt: fields.string("prompt", length: 1...maximumPromptCharacters))
        wanted.session = fields.optionalID("sessionId")
        fields.nested("options") { options in readOptions(&options, into: &wanted) }
        return wanted
    }

    private static func readOptions(_ options: inout RequestFields, into wanted: inout RunRequest) {
        wanted.model = options.optionalString("model", length: 3...200)
        wanted.instructions = options.optionalString("instructions", length: 1...20_000)
        wanted.tools = options.optionalStrings("tools", maximumCount: maximumTools).map { tools in
            var seen: Set<String> = []
            return tools.filter { seen.insert($0).inserted }
        }
        wanted.collection = options.optionalString("collection", length: 1...64)
        if let collection = wanted.collection, !NewDocument.isCollectionName(collection) {
            options.fault("collection", "must be the name of a collection")
        }
        wanted.stepLimit = options.optionalInt("stepLimit", in: 1...RunOptions.maximumSteps)
        let longest = Int(RunOptions.maximumTimeout.components.seconds)
        wanted.timeout = options.optionalInt("timeoutSeconds", in: 1...longest).map { .seconds($0) }
    }

    private func resume(_ request: Request, _ context: APIContext) async throws -> Response {
        let run = try await run(context)
        var fields = try RequestFields(await request.json())
        let toolCall = fields.string("toolCallId", length: 1...64)
        let decision = fields.string("decision", length: 1...20)
        let result = fields.optionalString("result", length: 0...65_536)
        if !decision.isEmpty, !["retry", "result", "failure"].contains(decision) {
            fields.fault("decision", "must be retry, result or failure")
        }
        if !decision.isEmpty, decision != "retry", result == nil { fields.fault("result", "is required with this decision") }
        try fields.finish()
        let decided: ToolCallDecision =
            switch decision {
            case "retry": .retry
            case "result": .result(result ?? "")
            default: .failure(result ?? "")
            }
        let resumed = try await runs.resume(
            tenant: run.tenant, run: run.id, toolCall: toolCall, decision: decided)
        return .json(resumed.json, status: .accepted)
    }
}
