import Agents
import Domain
import HTTPTypes
import Hummingbird
import NIOCore

extension Problem {
    /// The problem document (RFC 9457): `type`, `title`, `status`, `detail`, `code`, `requestId`, and `errors` a field.
    func json(requestID: String) -> JSONValue {
        let (status, title) = code.http
        var members: [String: JSONValue] = [
            "type": .string("urn:sba:error:\(code.rawValue)"), "title": .string(title),
            "status": .int(Int64(status.code)), "detail": .string(detail), "code": .string(code.rawValue),
            "requestId": .string(requestID),
        ]
        if !faults.isEmpty {
            members["errors"] = .array(
                faults.map { ["field": .string($0.field), "message": .string($0.message)] })
        }
        return .object(members)
    }

    func headers(allow: String? = nil) -> HTTPFields {
        var headers: HTTPFields = [.contentType: "application/problem+json", .cacheControl: "no-store"]
        if let retryAfter {
            headers[.retryAfter] = String(max(1, Int((retryAfter.milliseconds / 1000).rounded(.up))))
        }
        if code.http.status == .unauthorized { headers[.wwwAuthenticate] = "Bearer realm=\"sba\"" }
        return headers
    }

    func response(requestID: String) -> Response {
        Response(
            status: code.http.status, headers: headers(),
            body: ResponseBody(byteBuffer: ByteBuffer(string: json(requestID: requestID).text)))
    }

    /// Any error as a problem: the one mapping. What is not known here is an internal error, whose cause is for the log.
    static func from(_ error: any Error) -> Problem {
        switch error {
        case let problem as Problem: problem
        case is IdempotencyKeyReused:
            Problem(.idempotencyKeyReused, "This Idempotency-Key came with another request before. Use a new key.")
        case let error as any HTTPResponseError where error.status == .contentTooLarge:
            Problem(.bodyTooLarge, "The body is larger than this operation allows.")
        case StorageError.overloaded:
            Problem(.overloaded, "The database has too much to do. Try again shortly.", retryAfter: .seconds(1))
        case StorageError.unavailable, StorageError.outcomeUnknown:
            Problem(.storageUnavailable, "The database does not answer. Try again shortly.", retryAfter: .seconds(5))
        case is ChannelError, is IOError: Problem(.malformedHTTP, "The connection broke off in the middle of the request.")
        case is CancellationError: Problem(.shuttingDown, "The server is shutting down.", retryAfter: .seconds(2))
        default: Problem(.internalError, "The request failed. The server's log says why under this request id.")
        }
    }
}
