import Domain
import HTTPTypes

extension ErrorCode {
    /// The HTTP status under which a client sees the code, and a short title that is the same every time.
    var http: (status: HTTPResponse.Status, title: String) {
        switch self {
        case .invalidJSON: (.badRequest, "The body is not acceptable JSON")
        case .invalidRequest: (.badRequest, "The request is not valid")
        case .invalidCursor: (.badRequest, "The cursor is not valid")
        case .invalidID: (.badRequest, "The id is not valid")
        case .malformedHTTP: (.badRequest, "The request is not valid HTTP")
        case .requestTimeout: (.requestTimeout, "The request did not arrive in time")
        case .bodyTooLarge: (.contentTooLarge, "The body is too large")
        case .headersTooLarge: (.requestHeaderFieldsTooLarge, "The headers are too large")
        case .uriTooLong: (.uriTooLong, "The address is too long")
        case .unsupportedMediaType: (.unsupportedMediaType, "The content type is not supported")
        case .idempotencyKeyReused: (.unprocessableContent, "The idempotency key was used for something else")
        case .tokenMissing: (.unauthorized, "An access token is needed")
        case .tokenInvalid: (.unauthorized, "The access token is not valid")
        case .tokenExpired: (.unauthorized, "The access token has expired")
        case .invalidCredentials: (.unauthorized, "The address or the password is wrong")
        case .registrationClosed: (.forbidden, "Registration is closed")
        case .emailTaken: (.conflict, "The address is taken")
        case .invitationInvalid: (.badRequest, "The invitation is not good")
        case .resetInvalid: (.badRequest, "The token is not good")
        case .rateLimited: (.tooManyRequests, "Too many tries")
        case .lastOwner: (.conflict, "The tenant needs an owner")
        case .alreadyMember: (.conflict, "They are a member already")
        case .confirmationWrong: (.badRequest, "The confirmation is wrong")
        case .forbidden: (.forbidden, "This is not allowed")
        case .notFound: (.notFound, "There is no such thing here")
        case .methodNotAllowed: (.methodNotAllowed, "The method is not allowed here")
        case .runNotWaiting: (.conflict, "The run does not wait for anybody")
        case .jobStateForbids: (.conflict, "The job's state does not allow this")
        case .deliveryPending: (.conflict, "The delivery is still being tried")
        case .unknownTool: (.badRequest, "There is no such tool")
        case .unknownModel: (.badRequest, "There is no such model")
        case .overloaded: (.serviceUnavailable, "The server is busy")
        case .shuttingDown: (.serviceUnavailable, "The server is shutting down")
        case .storageUnavailable: (.serviceUnavailable, "The storage is not available")
        case .internalError: (.internalServerError, "Something went wrong here")
        case .modelUnavailable, .modelTimeout, .modelRejected, .modelInvalidResponse:
            (.badGateway, "The model gave no answer")
        case .stepLimit, .runExpired: (.unprocessableContent, "The run did not come to an end")
        case .documentUnreadable, .documentTooLarge: (.unprocessableContent, "The document cannot be indexed")
        }
    }
}
