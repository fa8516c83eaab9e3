import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// The contract, for programs and for people.
struct DocumentationRoutes {
    /// The page's own style and script, which stand in it, and nothing from elsewhere.
    private static let contentSecurity = """
        default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
        frame-ancestors 'none'; base-uri 'none'; form-action 'none'
        """

    var routes: [APIRoute] {
        [
            APIRoute(.get, "/openapi.json", .open) { _, _ in
                Response(
                    status: .ok, headers: [.contentType: "application/json", .cacheControl: "no-cache"],
                    body: ResponseBody(byteBuffer: ByteBuffer(string: OpenAPIDocument.json)))
            },
            APIRoute(.get, "/docs", .open) { _, _ in
                Response(
                    status: .ok,
                    headers: [
                        .contentType: "text/html; charset=utf-8", .cacheControl: "no-cache",
                        .contentSecurityPolicy: Self.contentSecurity,
                    ],
                    body: ResponseBody(byteBuffer: ByteBuffer(bytes: PackageResources.viewer_html)))
            },
        ]
    }
}
