import Domain
import HTTPTypes
import Hummingbird

/// One operation of the interface: the table of these is what openapi.yaml is held against.
public struct APIRoute: Sendable {
    public enum Access: Hashable, Sendable {
        /// Everyone.
        case open
        /// Whoever is signed in, person or program.
        case signedIn
        /// A person who signed in here: no API key, and no token of another issuer.
        case person
        /// Whoever is signed in and may do this (`runs:read`).
        case scope(String)

        /// As `x-permission` in openapi.yaml.
        public var name: String {
            switch self {
            case .open: "open"
            case .signedIn: "signed-in"
            case .person: "person"
            case .scope(let scope): scope
            }
        }
    }

    public typealias Handler = @Sendable (Request, APIContext) async throws -> Response

    public let method: HTTPRequest.Method
    /// As in OpenAPI: `/api/agent/runs/{id}`.
    public let path: String
    public let access: Access
    let handler: Handler

    init(_ method: HTTPRequest.Method, _ path: String, _ access: Access, handler: @escaping Handler) {
        self.method = method
        self.path = path
        self.access = access
        self.handler = handler
    }
}

extension Response {
    static var noContent: Response { Response(status: .noContent, headers: [.cacheControl: "no-store"]) }

    /// A JSON answer. Nobody may keep what an authenticated request was told.
    static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: value.text)))
    }
}
