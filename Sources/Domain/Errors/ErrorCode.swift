/// Every error that a client or a run log can see: one stable code each. docs/errors.md says what to do about it.
public enum ErrorCode: String, CaseIterable, Sendable {
    // The request
    case invalidJSON = "invalid_json"
    case invalidRequest = "invalid_request"
    case invalidCursor = "invalid_cursor"
    case invalidID = "invalid_id"
    case malformedHTTP = "malformed_http"
    case requestTimeout = "request_timeout"
    case bodyTooLarge = "body_too_large"
    case headersTooLarge = "headers_too_large"
    case unsupportedMediaType = "unsupported_media_type"
    case idempotencyKeyReused = "idempotency_key_reused"
    // Who asks
    case tokenMissing = "token_missing"
    case tokenInvalid = "token_invalid"
    case tokenExpired = "token_expired"
    case invalidCredentials = "invalid_credentials"
    case registrationClosed = "registration_closed"
    case emailTaken = "email_taken"
    case forbidden = "forbidden"
    // What is asked for
    case notFound = "not_found"
    case methodNotAllowed = "method_not_allowed"
    case runNotWaiting = "run_not_waiting"
    case unknownTool = "unknown_tool"
    case unknownModel = "unknown_model"
    // The server
    case overloaded = "overloaded"
    case shuttingDown = "shutting_down"
    case storageUnavailable = "storage_unavailable"
    case internalError = "internal_error"
    // A run that ended in RUN_ERROR
    case modelUnavailable = "model_unavailable"
    case modelTimeout = "model_timeout"
    case modelRejected = "model_rejected"
    case modelInvalidResponse = "model_invalid_response"
    case stepLimit = "step_limit"
    case runExpired = "run_expired"
    // A document that could not be indexed
    case documentUnreadable = "document_unreadable"
    case documentTooLarge = "document_too_large"
}
