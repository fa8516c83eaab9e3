import AsyncHTTPClient
import Domain
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// Outgoing HTTP over AsyncHTTPClient.
public struct HTTPClientTransport: OutgoingHTTP {
    private let client: HTTPClient

    /// - Parameter client: made by `makeClient`; whoever makes it shuts it down.
    public init(client: HTTPClient) { self.client = client }

    /// A client that connects within `connect`, follows no redirect and decompresses nothing.
    ///
    /// - Parameters:
    ///   - connections: to one host at one time; further requests wait for one.
    ///   - addresses: of hosts that are not looked up: it connects to the address, and speaks as if it had found it by the
    ///     name. A name is written as in the URL.
    public static func makeClient(
        connect: Duration = HTTPTimeouts().connect, connections: Int = 8, addresses: [String: IPAddress] = [:]
    ) -> HTTPClient {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .microseconds(connect.microseconds)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        // A refused connection is told at once; whether to try again is for the caller to say.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        configuration.dnsOverride = addresses.mapValues(\.text)
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    public func exchange(
        _ request: OutgoingRequest, timeouts: HTTPTimeouts,
        receive: @escaping @Sendable (OutgoingResponseHead, [UInt8]) async throws -> Void
    ) async throws -> OutgoingResponseHead {
        let watchdog = Watchdog(timeouts)
        return try await withThrowingTaskGroup(of: OutgoingResponseHead?.self) { group in
            group.addTask { try await run(request, timeouts, watchdog, receive) }
            group.addTask {
                try await watchdog.watch()
                return nil
            }
            defer { group.cancelAll() }
            while let head = try await group.next() {
                if let head { return head }
            }
            throw CancellationError()
        }
    }

    private func run(
        _ request: OutgoingRequest, _ timeouts: HTTPTimeouts, _ watchdog: Watchdog,
        _ receive: @Sendable (OutgoingResponseHead, [UInt8]) async throws -> Void
    ) async throws -> OutgoingResponseHead {
        // The client would end the process with the number of a port that is none.
        guard URL(string: request.url)?.port.map({ (1...65535).contains($0) }) ?? true else {
            throw HTTPFailure.notConnected("the address names no port")
        }
        var outgoing = HTTPClientRequest(url: request.url)
        outgoing.method = HTTPMethod(rawValue: request.method)
        for header in request.headers { outgoing.headers.add(name: header.name, value: header.value) }
        if !request.body.isEmpty { outgoing.body = .bytes(request.body) }
        let response: HTTPClientResponse
        do {
            response = try await client.execute(outgoing, timeout: .microseconds(timeouts.total.microseconds))
        } catch {
            throw Self.failure(error)
        }
        let head = OutgoingResponseHead(
            status: Int(response.status.code),
            headers: Dictionary(
                response.headers.map { ($0.name.lowercased(), $0.value) }, uniquingKeysWith: { _, last in last }))
        watchdog.enter(.idle, for: timeouts.idle)
        var body = response.body.makeAsyncIterator()
        while let piece = try await Self.next(&body) {
            try await receive(head, Array(piece.readableBytesView))
            watchdog.enter(.idle, for: timeouts.idle)
        }
        return head
    }

    private static func next(_ body: inout HTTPClientResponse.Body.AsyncIterator) async throws -> ByteBuffer? {
        do { return try await body.next() } catch { throw failure(error) }
    }

    /// The library's error in our terms. Only what is known to come before anything was sent counts as not connected.
    private static func failure(_ error: any Error) -> any Error {
        if Task.isCancelled || error is CancellationError { return CancellationError() }
        if let error = error as? IOError, unreachable.contains(error.errnoCode) {
            return HTTPFailure.notConnected("the connection was refused")
        }
        if let error = error as? NIOConnectionError {
            return HTTPFailure.notConnected("\(error.host) cannot be reached")
        }
        switch error as? HTTPClientError {
        case .connectTimeout: return HTTPFailure.timedOut(.connect)
        case .getConnectionFromPoolTimeout: return HTTPFailure.notConnected("no connection was free in time")
        case .deadlineExceeded: return HTTPFailure.timedOut(.total)
        case .remoteConnectionClosed: return HTTPFailure.broken("the connection was closed")
        case .invalidURL, .emptyHost, .emptyScheme: return HTTPFailure.notConnected("the address is not a URL")
        default: return HTTPFailure.broken("\(error)")
        }
    }

    private static let unreachable: Set<CInt> = [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH]
}
