import Accounts
import Domain
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Whose pages may call the API from a browser (Fetch Standard, CORS protocol): origins that the server or a tenant lists,
/// to the letter. Access goes by tokens in a header, so cookies are never allowed, and `*` is never answered.
struct CORSPolicy: Sendable {
    private static let preflightSeconds = 600
    private static let exposed = "Location, Retry-After, X-Next-Cursor, X-Request-Id, X-Run-Id"
    private static let allowed =
        "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-Request-Id, X-Tenant-Id, traceparent"

    let origins: Set<String>
    let accounts: AccountService

    /// A scheme, a host and perhaps a port, as browsers write them: no path, no upper case, no `*`.
    static func isOrigin(_ text: String) -> Bool {
        guard text.utf8.count <= 200, text == text.lowercased(), let url = URLComponents(string: text),
            let scheme = url.scheme, ["http", "https"].contains(scheme), let host = url.host, !host.isEmpty,
            url.path.isEmpty, url.query == nil, url.fragment == nil, url.user == nil, !text.contains("*"),
            url.port.map({ (1...65535).contains($0) }) ?? true, !host.hasPrefix("[") || isIPv6(host)
        else { return false }
        return text == "\(scheme)://\(host)" + (url.port.map { ":\($0)" } ?? "")
    }

    private static func isIPv6(_ bracketed: String) -> Bool {
        (try? SocketAddress(ipAddress: String(bracketed.dropFirst().dropLast()), port: 0))?.protocol == .inet6
    }

    /// The answer to a preflight; `nil` for any other request.
    ///
    /// - Parameter methods: what the path takes, looked for only when it is asked for.
    func preflight(_ request: Request, methods: @autoclosure () -> [String]) async throws -> Response? {
        guard request.method == .options, let origin = request.headers[.origin],
            request.headers[.accessControlRequestMethod] != nil
        else { return nil }
        var response = Response(status: .noContent, headers: [.vary: "Origin, Access-Control-Request-Method"])
        let methods = methods()
        guard try await isAllowed(origin, for: nil), !methods.isEmpty else { return response }
        response.headers[.accessControlAllowOrigin] = origin
        response.headers[.accessControlAllowMethods] = methods.joined(separator: ", ")
        response.headers[.accessControlAllowHeaders] = Self.allowed
        response.headers[.accessControlMaxAge] = String(Self.preflightSeconds)
        return response
    }

    /// Lets the page read the answer when its origin is allowed, by the server or by the caller's tenant.
    func apply(to response: inout Response, _ request: Request, tenant: TenantID?) async {
        let origin = request.headers[.origin]
        // Also what was asked for without an origin, if somebody may keep it for the next who asks.
        guard origin != nil || response.headers[.cacheControl] != "no-store" else { return }
        if response.headers[.vary]?.contains("Origin") != true { response.headers[values: .vary].append("Origin") }
        // What cannot be found out is not allowed.
        guard let origin, (try? await isAllowed(origin, for: tenant)) == true else { return }
        response.headers[.accessControlAllowOrigin] = origin
        response.headers[.accessControlExposeHeaders] = Self.exposed
    }

    private func isAllowed(_ origin: String, for tenant: TenantID?) async throws -> Bool {
        guard !origins.contains(origin) else { return true }
        return Self.isOrigin(origin) ? try await accounts.allowsOrigin(origin, for: tenant) : false
    }
}
