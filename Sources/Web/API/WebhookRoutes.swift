import Automation
import Domain
import HTTPTypes
import Hummingbird

/// Addresses that are told what happens, and what became of each telling.
struct WebhookRoutes {
    let webhooks: WebhookService

    var routes: [APIRoute] { ofWebhooks + ofDeliveries }

    private var ofWebhooks: [APIRoute] {
        [
            APIRoute(.get, "/api/webhooks", .scope("webhooks:read")) { request, context in
                let page = try await webhooks.webhooks(try context.principal(), page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.post, "/api/webhooks", .scope("webhooks:write")) { request, context in
                var fields = try RequestFields(await request.json())
                let change = read(&fields, isNew: true)
                try fields.finish()
                let (webhook, secret) = try await webhooks.create(
                    try context.principal(), url: change.url ?? "", description: change.description,
                    events: change.events ?? [], requester: context.requester)
                var response = Response.json(webhook.json(secret: secret), status: .created)
                response.headers[.location] = "/api/webhooks/\(webhook.id)"
                return response
            },
            APIRoute(.get, "/api/webhooks/{id}", .scope("webhooks:read")) { _, context in
                .json(try await webhooks.webhook(try context.principal(), try context.id()).json)
            },
            APIRoute(.patch, "/api/webhooks/{id}", .scope("webhooks:write")) { request, context in
                let id: WebhookID = try context.id()
                var fields = try RequestFields(await request.json())
                var change = read(&fields, isNew: false)
                change.isEnabled = fields.optionalBool("enabled")
                try fields.finish()
                let webhook = try await webhooks.change(
                    try context.principal(), id, change, requester: context.requester)
                return .json(webhook.json)
            },
            APIRoute(.delete, "/api/webhooks/{id}", .scope("webhooks:write")) { _, context in
                try await webhooks.delete(try context.principal(), try context.id(), requester: context.requester)
                return .noContent
            },
            APIRoute(.post, "/api/webhooks/{id}/rotate-secret", .scope("webhooks:write")) { _, context in
                let (webhook, secret) = try await webhooks.rotateSecret(
                    try context.principal(), try context.id(), requester: context.requester)
                return .json(webhook.json(secret: secret))
            },
            APIRoute(.post, "/api/webhooks/{id}/test", .scope("webhooks:write")) { _, context in
                let delivery = try await webhooks.test(
                    try context.principal(), try context.id(), requester: context.requester)
                return .json(delivery.json, status: .accepted)
            },
        ]
    }

    private func read(_ fields: inout RequestFields, isNew: Bool) -> WebhookChange {
        var change = WebhookChange()
        change.url =
            isNew
            ? fields.string("url", length: Webhook.urlCharacters)
            : fields.optionalString("url", length: Webhook.urlCharacters)
        if let url = change.url, !url.isEmpty, let fault = webhooks.fault(url: url) { fields.fault("url", fault) }
        change.description = fields.optionalString("description", length: Webhook.descriptionCharacters)
        change.events = fields.optionalStrings("events", maximumCount: Webhook.maximumEvents)
        if isNew, !fields.has("events") { fields.fault("events", "is required") }
        if let events = change.events, events.isEmpty || !events.allSatisfy(EventType.isPattern) {
            fields.fault("events", "must hold one or more types like run.succeeded, run.* or *")
        }
        return change
    }

    private var ofDeliveries: [APIRoute] {
        [
            APIRoute(.get, "/api/webhooks/{id}/deliveries", .scope("webhooks:read")) { request, context in
                let page = try await webhooks.deliveries(
                    try context.principal(), of: try context.id(), state: try Self.state(request), page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.get, "/api/webhooks/{id}/deliveries/{delivery}", .scope("webhooks:read")) { _, context in
                let (delivery, event) = try await webhooks.delivery(
                    try context.principal(), of: try context.id(), try context.id("delivery"))
                return .json(.object((delivery.json.object ?? [:]).merging(["event": event.body]) { $1 }))
            },
            APIRoute(.post, "/api/webhooks/{id}/deliveries/{delivery}/replay", .scope("webhooks:write")) { _, context in
                let delivery = try await webhooks.replay(
                    try context.principal(), of: try context.id(), try context.id("delivery"), requester: context.requester)
                return .json(delivery.json, status: .accepted)
            },
        ]
    }

    private static func state(_ request: Request) throws(Problem) -> WebhookDelivery.State? {
        guard let text = request.query("state") else { return nil }
        guard let state = WebhookDelivery.State(rawValue: text) else {
            let known = WebhookDelivery.State.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.invalidRequest, "state must be one of \(known).")
        }
        return state
    }
}

extension Webhook {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "url": .string(url), "description": JSONValue(description),
            "events": .array(events.map { .string($0) }), "enabled": .bool(disabledAt == nil),
            "disabledReason": JSONValue(disabledReason), "createdAt": JSONValue(createdAt), "updatedAt": JSONValue(updatedAt),
            "previousSecretUntil": JSONValue(previousUntil),
        ]
    }

    /// The one time that the secret is shown.
    func json(secret: WebhookSecret) -> JSONValue {
        .object((json.object ?? [:]).merging(["secret": .string(secret.text)]) { $1 })
    }
}

extension WebhookDelivery {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "webhookId": .string("\(webhook)"), "eventId": .string("\(event)"), "type": .string(type),
            "state": .string(state.rawValue), "attempts": .int(Int64(attempts)), "lastStatus": JSONValue(lastAttempt?.status),
            "lastError": JSONValue(lastAttempt?.error), "lastResponse": JSONValue(lastAttempt?.response),
            "lastDurationMs": JSONValue(lastAttempt.map { Int($0.duration.milliseconds) }),
            "lastAttemptAt": JSONValue(lastAttempt?.time), "createdAt": JSONValue(createdAt),
            "deliveredAt": JSONValue(deliveredAt),
        ]
    }
}
