import Agents
import Automation
import Domain
import HTTPTypes
import Hummingbird

/// Events of tenants' own products, and their schemas.
struct MetaEventRoutes {
    let events: MetaEventService

    var routes: [APIRoute] {
        [
            APIRoute(.post, "/api/meta-events", .scope("events:write")) { request, context in
                var fields = try RequestFields(await request.json(upTo: Self.maximumBytes))
                let new = fields.objects("events", count: 1...MetaEvent.maximumTogether, Self.event)
                try fields.finish()
                let received = try await events.receive(try context.principal(), new)
                return .json(["items": .array(received.map(\.receipt))], status: .accepted)
            },
            APIRoute(.get, "/api/meta-events", .scope("events:read")) { request, context in
                let filter = MetaEventFilter(
                    type: try Self.type(request.query("type")), from: try request.time("from"), to: try request.time("to"))
                let page = try await events.events(try context.principal(), filter, page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.get, "/api/meta-events/schemas", .scope("events:read")) { _, context in
                .json(["items": .array(try await events.schemas(try context.principal()).map(\.json))])
            },
            APIRoute(.put, "/api/meta-events/schemas/{type}", .scope("events:manage")) { request, context in
                let type = try Self.type(context.parameters.get("type")) ?? ""
                var fields = try RequestFields(await request.json())
                let schema = fields.object("schema")
                if schema.text.utf8.count > EventSchema.maximumBytes {
                    fields.fault("schema", "must be at most \(EventSchema.maximumBytes) bytes")
                }
                try fields.finish()
                let registered = try await events.put(
                    try context.principal(), type, schema: schema, requester: context.requester)
                return .json(registered.json)
            },
            APIRoute(.delete, "/api/meta-events/schemas/{type}", .scope("events:manage")) { _, context in
                let type = try Self.type(context.parameters.get("type")) ?? ""
                try await events.delete(try context.principal(), schema: type, requester: context.requester)
                return .noContent
            },
        ]
    }

    /// Of a request: as many events as it may hold, as large as they may be, and room for what is around them.
    private static let maximumBytes = MetaEvent.maximumTogether * (MetaEvent.maximumDataBytes + 1024)

    private static func event(_ fields: inout RequestFields) -> NewMetaEvent {
        let id: EventID? = fields.optionalID("id")
        let type = fields.string("type", length: EventType.characters)
        if !type.isEmpty, let fault = fault(of: type) { fields.fault("type", fault) }
        let data = fields.object("data")
        if data.text.utf8.count > MetaEvent.maximumDataBytes {
            fields.fault("data", "must be at most \(MetaEvent.maximumDataBytes) bytes")
        }
        return NewMetaEvent(id: id, type: type, data: data, time: fields.optionalTime("time"))
    }

    private static func fault(of type: String) -> String? {
        if !EventType.isValid(type) { return "must be words of a to z, 0 to 9 and _, divided by dots, like order.paid" }
        return EventType.isReserved(type)
            ? "must not begin with \(EventType.reserved.sorted().joined(separator: ", ")), which the platform's events do" : nil
    }

    private static func type(_ text: String?) throws(Problem) -> String? {
        guard let text else { return nil }
        if let fault = fault(of: text) { throw Problem(.invalidRequest, "type \(fault).") }
        return text
    }
}

extension MetaEvent {
    var receipt: JSONValue { ["id": .string("\(id)"), "type": .string(type), "time": JSONValue(time)] }

    var json: JSONValue {
        [
            "id": .string("\(id)"), "type": .string(type), "data": data, "time": JSONValue(time),
            "receivedAt": JSONValue(receivedAt),
        ]
    }
}

extension EventSchema {
    var json: JSONValue {
        [
            "type": .string(type), "schema": schema.json, "createdAt": JSONValue(createdAt),
            "updatedAt": JSONValue(updatedAt),
        ]
    }
}
