import Accounts
import Agents
import Domain
import Knowledge

// What clients see of our types. openapi.yaml holds the schemas.

extension Page {
    func json(_ item: (Item) -> JSONValue) -> JSONValue {
        ["items": .array(items.map(item)), "nextCursor": JSONValue(next?.text)]
    }
}

extension JSONValue {
    init(_ time: Timestamp?) { self.init(time?.iso8601) }
}

extension Run {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "sessionId": .string("\(session)"), "status": .string(status.rawValue),
            "prompt": .string(prompt), "output": JSONValue(output),
            "error": failure.map { ["code": .string($0.code), "message": .string($0.message)] } ?? .null,
            "options": options.json,
            "usage": [
                "inputTokens": .int(Int64(usage.inputTokens)), "outputTokens": .int(Int64(usage.outputTokens)),
            ],
            "userId": .string("\(principal.user)"), "requestId": .string(trace.requestID),
            "createdAt": JSONValue(createdAt), "startedAt": JSONValue(startedAt), "finishedAt": JSONValue(finishedAt),
            "deadlineAt": JSONValue(deadline),
        ]
    }
}

extension RunStep {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "name": .string(name), "index": .int(Int64(index)),
            "kind": .string(kind.rawValue), "status": .string(status.rawValue), "attempt": .int(Int64(attempt)),
            "toolCallId": JSONValue(toolCall), "output": output?.json ?? .null, "startedAt": JSONValue(startedAt),
            "finishedAt": JSONValue(finishedAt),
        ]
    }
}

extension ToolCallRecord {
    var json: JSONValue {
        [
            "id": .string(id), "stepId": .string("\(step)"), "name": .string(name), "arguments": .string(arguments),
            "state": .string(state.rawValue), "attempt": .int(Int64(attempt)), "result": JSONValue(result),
            "createdAt": JSONValue(createdAt), "finishedAt": JSONValue(finishedAt),
        ]
    }
}

extension Document {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "title": .string(title), "collection": .string(collection), "metadata": metadata,
            "mediaType": .string(mediaType.rawValue), "byteCount": .int(Int64(byteCount)),
            "status": .string(status.rawValue), "failure": JSONValue(failure), "chunkCount": .int(Int64(chunkCount)),
            "createdAt": JSONValue(createdAt), "updatedAt": JSONValue(updatedAt),
        ]
    }
}

extension SearchHit {
    var json: JSONValue {
        [
            "documentId": .string("\(document)"), "chunkId": .string("\(chunk)"), "title": .string(title),
            "heading": .string(heading), "text": .string(text), "score": .double(score),
        ]
    }
}

extension User {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "email": .string(email), "operator": .bool(isOperator),
            "createdAt": JSONValue(createdAt),
        ]
    }
}

extension Member {
    var json: JSONValue {
        [
            "id": .string("\(user.id)"), "email": .string(user.email), "role": .string(role.rawValue),
            "joinedAt": JSONValue(joinedAt),
        ]
    }
}

extension Tenant {
    func json(role: Role) -> JSONValue {
        ["id": .string("\(id)"), "name": .string(name), "role": .string(role.rawValue)]
    }

    var settings: JSONValue {
        [
            "id": .string("\(id)"), "name": .string(name), "corsOrigins": .array(corsOrigins.map { .string($0) }),
            "createdAt": JSONValue(createdAt),
        ]
    }

    var summary: JSONValue {
        ["id": .string("\(id)"), "name": .string(name), "createdAt": JSONValue(createdAt)]
    }
}

extension Invitation {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "email": .string(email), "role": .string(role.rawValue),
            "createdAt": JSONValue(createdAt), "expiresAt": JSONValue(expiresAt),
        ]
    }

    /// The one time that the token is shown.
    func json(token: String) -> JSONValue {
        .object((json.object ?? [:]).merging(["token": .string(token)]) { $1 })
    }
}

extension APIKey {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "name": .string(name), "prefix": .string(prefix),
            "scopes": .array(scopes.map { .string($0) }), "userId": .string("\(user)"), "createdAt": JSONValue(createdAt),
            "expiresAt": JSONValue(expiresAt), "revokedAt": JSONValue(revokedAt), "lastUsedAt": JSONValue(lastUsedAt),
        ]
    }

    /// The one time that the key is shown.
    func json(text: String) -> JSONValue {
        .object((json.object ?? [:]).merging(["key": .string(text)]) { $1 })
    }
}

extension AuditEntry {
    var json: JSONValue {
        [
            "id": .string("\(id)"), "action": .string(action.rawValue),
            "userId": JSONValue(requester.user.map { "\($0)" }), "apiKeyId": JSONValue(requester.apiKey.map { "\($0)" }),
            "address": JSONValue(requester.address), "requestId": .string(requester.requestID),
            "target": JSONValue(target), "details": details, "time": JSONValue(time),
        ]
    }
}
