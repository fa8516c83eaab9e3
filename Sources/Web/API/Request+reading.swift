import Domain
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// How much of a request is taken, and how long it may take to arrive.
enum RequestBounds {
    /// A JSON body.
    static let jsonBytes = 1 << 20
    /// A body with a document in it: the document, and room for JSON escapes or part headers.
    static let documentBytes = 12 << 20
    /// All of a body.
    static let bodyTime: Duration = .seconds(30)
    static let idempotencyKeyCharacters = 1...200
    static let requestIDCharacters = 1...128
    /// Path and query.
    static let uriBytes = 8 * 1024
}

extension Request {
    /// The media type without parameters, in lowercase.
    var mediaType: String? {
        headers[.contentType].map { value in
            (value.split(separator: ";").first ?? "").trimmingCharacters(in: .whitespaces).lowercased()
        }
    }

    /// Takes in the whole body.
    ///
    /// - Throws: `Problem` with `body_too_large` or `request_timeout`.
    func collect(upTo limit: Int) async throws -> ByteBuffer {
        if let declared = headers[.contentLength].flatMap({ Int($0) }), declared > limit { throw Self.tooLarge(limit) }
        let request = self
        let body = try await withThrowingTaskGroup(of: ByteBuffer?.self) { group in
            group.addTask {
                do {
                    return try await request.body.collect(upTo: limit)
                } catch is NIOTooManyBytesError {
                    throw Self.tooLarge(limit)
                }
            }
            group.addTask {
                try await Task.sleep(for: RequestBounds.bodyTime)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        guard let body else {
            throw Problem(
                .requestTimeout, "The body did not arrive within \(RequestBounds.bodyTime.components.seconds) seconds.")
        }
        if let declared = headers[.contentLength].flatMap({ Int($0) }), declared != body.readableBytes {
            throw Problem(.malformedHTTP, "The body ended after \(body.readableBytes) of \(declared) bytes.")
        }
        return body
    }

    private static func tooLarge(_ limit: Int) -> Problem {
        Problem(.bodyTooLarge, "The body may have at most \(limit) bytes here.")
    }

    /// The body as JSON.
    ///
    /// - Throws: `Problem` with `unsupported_media_type`, `invalid_json`, `body_too_large` or `request_timeout`.
    func json(upTo limit: Int = RequestBounds.jsonBytes) async throws -> JSONValue {
        guard mediaType == "application/json" else {
            throw Problem(.unsupportedMediaType, "Send the body as application/json.")
        }
        let body = try await collect(upTo: limit)
        do {
            return try JSONValue(parsing: body.readableBytesView)
        } catch {
            throw Problem(.invalidJSON, Self.describe(error))
        }
    }

    private static func describe(_ error: JSONParsingError) -> String {
        switch error {
        case .malformed(let offset): "The body is not valid JSON at byte \(offset)."
        case .tooDeep(let limit): "The body is nested deeper than \(limit) levels."
        case .duplicateKey(let key): "The body has the member '\(key.prefix(64))' twice in one object."
        case .invalidUTF8: "The body is not valid UTF-8."
        case .nul: "The body holds a NUL character, which no text here may."
        }
    }

    /// What part of a list is asked for by `?limit=&cursor=`.
    ///
    /// - Throws: `Problem` with `invalid_request` or `invalid_cursor`.
    func page() throws(Problem) -> PageRequest {
        var limit = PageRequest.defaultLimit
        if let text = query("limit") {
            guard let number = Int(text), (1...PageRequest.maximumLimit).contains(number) else {
                throw Problem(.invalidRequest, "limit must be an integer from 1 to \(PageRequest.maximumLimit).")
            }
            limit = number
        }
        guard let text = query("cursor") else { return PageRequest(limit: limit) }
        guard let cursor = PageCursor(text: text) else {
            throw Problem(.invalidCursor, "Use a nextCursor of the same list as it was answered, or none.")
        }
        return PageRequest(limit: limit, cursor: cursor)
    }

    /// A query parameter; the first of several.
    func query(_ name: String) -> String? { uri.queryParameters[name[...]].map(String.init) }

    /// A time in the query.
    ///
    /// - Throws: `Problem` when it is none.
    func time(_ name: String) throws(Problem) -> Timestamp? {
        guard let text = query(name) else { return nil }
        guard let time = Timestamp(rfc3339: text) else {
            throw Problem(
                .invalidRequest, "\(name) must be a date or a time in UTC like 2026-11-20 or 2026-11-20T17:14:10Z.")
        }
        return time
    }

    /// The tenant that the caller wants to act in: `X-Tenant-Id`.
    ///
    /// - Throws: `Problem` with `invalid_id`.
    func tenant() throws(Problem) -> TenantID? {
        guard let text = headers[.tenantID] else { return nil }
        guard let tenant = TenantID(text) else {
            throw Problem(.invalidID, "X-Tenant-Id must be the id of a tenant: a UUID.")
        }
        return tenant
    }

    /// The caller's `Idempotency-Key`.
    ///
    /// - Throws: `Problem` when it is not 1 to 200 visible ASCII characters.
    func idempotencyKey() throws(Problem) -> String? {
        guard let key = headers[.idempotencyKey] else { return nil }
        guard RequestBounds.idempotencyKeyCharacters.contains(key.utf8.count), key.isVisibleASCII else {
            throw Problem(.invalidRequest, "Idempotency-Key must be 1 to 200 visible ASCII characters.")
        }
        return key
    }
}

extension String {
    var isVisibleASCII: Bool { utf8.allSatisfy { (0x21...0x7E).contains($0) } }
}

extension HTTPField.Name {
    // The names are constants of the right form.
    static let idempotencyKey = HTTPField.Name("Idempotency-Key").unsafelyUnwrapped
    static let tenantID = HTTPField.Name("X-Tenant-Id").unsafelyUnwrapped
    static let requestID = HTTPField.Name("X-Request-Id").unsafelyUnwrapped
    static let traceparent = HTTPField.Name("traceparent").unsafelyUnwrapped
    static let prefer = HTTPField.Name("Prefer").unsafelyUnwrapped
    static let preferenceApplied = HTTPField.Name("Preference-Applied").unsafelyUnwrapped
    static let lastEventID = HTTPField.Name("Last-Event-ID").unsafelyUnwrapped
}
