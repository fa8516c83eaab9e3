import Domain
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Metrics
import Synchronization

/// Gives every request its id and trace, turns every error into a problem document, and counts and logs what came of it.
final class RequestObserver: RouterMiddleware {
    typealias Context = APIContext

    private let routes: [APIRoute]
    private let cors: CORSPolicy
    private let http: HTTPConfiguration
    private let ambient: Ambient
    private let recorders = Mutex<[Series: Recorder]>([:])

    init(routes: [APIRoute], cors: CORSPolicy, http: HTTPConfiguration, ambient: Ambient) {
        self.routes = routes
        self.cors = cors
        self.http = http
        self.ambient = ambient
    }

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let started = ContinuousClock.now
        var context = context
        context.trace = trace(of: request)
        let peer = context.address
        context.address = http.trustedProxies.client(of: peer, request.headers)
        var response: Response
        do {
            response = try await answer(request, context, next)
        } catch {
            response = respond(to: error, request, context)
        }
        if request.method == .head { response = response.createHeadResponse() }
        response.headers[.requestID] = context.trace.requestID
        SecurityHeaders.apply(
            to: &response.headers, isSecure: http.tls != nil || http.trustedProxies.isSecure(peer, request.headers))
        await cors.apply(to: &response, request, tenant: context.caller.principal?.tenant)
        let milliseconds = (ContinuousClock.now - started).milliseconds
        // The router names what it does not know `NotFound`.
        let route = context.endpointPath.flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "unmatched"
        record(milliseconds, Series(method: request.method, route: route, status: response.status.code))
        log(request, context, route: route, status: response.status.code, milliseconds)
        return response
    }

    private func answer(
        _ request: Request, _ context: Context, _ next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard request.uri.string.utf8.count <= RequestBounds.uriBytes else {
            throw Problem(.uriTooLong, "Path and query may have at most \(RequestBounds.uriBytes) bytes.")
        }
        if let preflight = try await cors.preflight(request, methods: methods(at: request.uri.path)) { return preflight }
        return try await next(request, context)
    }

    private func log(_ request: Request, _ context: Context, route: String, status: Int, _ milliseconds: Double) {
        guard context.logger.logLevel <= .info else { return }
        logger(context).info(
            "\(request.method.rawValue) \(request.uri.path) \(status)",
            metadata: ["route": "\(route)", "status": "\(status)", "duration_ms": "\(milliseconds)"])
    }

    /// The server's logger with the ids of this request.
    private func logger(_ context: Context) -> Logger {
        var logger = context.logger
        logger[metadataKey: "hb.request.id"] = nil
        logger[metadataKey: "request_id"] = "\(context.trace.requestID)"
        if let trace = context.trace.traceID { logger[metadataKey: "trace_id"] = "\(trace)" }
        if let tenant = context.caller.principal?.tenant { logger[metadataKey: "tenant_id"] = "\(tenant)" }
        return logger
    }

    /// The caller's request id when it is one, else a new one; the caller's trace when it is one.
    private func trace(of request: Request) -> Trace {
        let given = request.headers[.requestID].flatMap { id in
            RequestBounds.requestIDCharacters.contains(id.utf8.count) && id.isVisibleASCII ? id : nil
        }
        return Trace(
            requestID: given ?? "\(Identifier<Void>(ambient.makeID()))",
            traceparent: request.headers[.traceparent].flatMap { Trace.isTraceparent($0) ? $0 : nil })
    }

    // MARK: Errors

    private func respond(to error: any Error, _ request: Request, _ context: Context) -> Response {
        if let error = error as? any HTTPResponseError, error.status == .notFound {
            return unmatched(request, context)
        }
        let problem = Problem.from(error)
        if problem.code.http.status.kind == .serverError {
            logger(context).error("A request failed.", metadata: ["error": "\(error)", "path": "\(request.uri.path)"])
        }
        return problem.response(requestID: context.trace.requestID)
    }

    /// 405 where the path exists with other methods, else 404.
    private func unmatched(_ request: Request, _ context: Context) -> Response {
        let methods = methods(at: request.uri.path)
        guard !methods.isEmpty else {
            return Problem(.notFound, "There is nothing at this path. See openapi.yaml for what there is.")
                .response(requestID: context.trace.requestID)
        }
        let allowed = methods.joined(separator: ", ")
        var response = Problem(.methodNotAllowed, "This path takes \(allowed).")
            .response(requestID: context.trace.requestID)
        response.headers[.allow] = allowed
        return response
    }

    /// What the path takes.
    private func methods(at path: String) -> [String] {
        let parts = path.split(separator: "/")
        let methods = routes.filter { route in
            let template = route.path.split(separator: "/")
            return template.count == parts.count
                && zip(template, parts).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
        }.flatMap { $0.method == .get ? ["GET", "HEAD"] : [$0.method.rawValue] }
        return Set(methods).sorted()
    }

    // MARK: Metrics

    private struct Series: Hashable {
        let method: HTTPRequest.Method
        let route: String
        let status: Int
    }

    private func record(_ milliseconds: Double, _ series: Series) {
        let recorder = recorders.withLock { recorders in
            if let recorder = recorders[series] { return recorder }
            // Anything else that a client invents is one label, not many.
            let method = HTTPRequest.Method.known.contains(series.method.rawValue) ? series.method.rawValue : "other"
            let recorder = Recorder(
                label: "http_request_duration_ms",
                dimensions: [("method", method), ("route", series.route), ("status", "\(series.status)")])
            if recorders.count < Self.maximumSeries { recorders[series] = recorder }
            return recorder
        }
        recorder.record(milliseconds)
    }

    /// Methods are the client's to invent: beyond this no more are remembered.
    private static let maximumSeries = 1000
}

extension HTTPRequest.Method {
    fileprivate static let known: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
}
