import Domain

/// A request to another server.
public struct OutgoingRequest: Sendable {
    public var method: String
    public var url: String
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]

    public init(method: String = "POST", url: String, headers: [(name: String, value: String)], body: [UInt8]) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
    }
}

/// The status and headers of an answer.
public struct OutgoingResponseHead: Sendable {
    public let status: Int
    /// Names in lowercase; the last of a repeated header.
    public let headers: [String: String]

    public init(status: Int, headers: [String: String]) {
        self.status = status
        self.headers = headers
    }
}

/// How long each part of an exchange may take.
public struct HTTPTimeouts: Sendable {
    public var connect: Duration
    /// From sending the request to the head of the answer.
    public var firstByte: Duration
    /// Between two pieces of the body.
    public var idle: Duration
    /// The whole exchange.
    public var total: Duration

    public init(
        connect: Duration = .seconds(5), firstByte: Duration = .seconds(60), idle: Duration = .seconds(30),
        total: Duration = .seconds(300)
    ) {
        self.connect = connect
        self.firstByte = firstByte
        self.idle = idle
        self.total = total
    }

    /// One bound for every part.
    public init(total: Duration) {
        self.init(connect: min(.seconds(5), total), firstByte: total, idle: total, total: total)
    }
}

/// Why an exchange did not end with an answer.
public enum HTTPFailure: Error, Hashable, Sendable {
    /// No connection: nothing was sent.
    case notConnected(String)
    /// The connection broke; the other side may have acted.
    case broken(String)
    case timedOut(Phase)

    public enum Phase: String, Sendable {
        case connect = "connecting"
        case firstByte = "waiting for the first byte"
        case idle = "waiting for more of the answer"
        case total = "the whole exchange"
    }
}

/// Sends requests to other servers. Holds connections open between requests; never follows a redirect.
public protocol OutgoingHTTP: Sendable {
    /// Sends one request once and hands over the body as it comes; `receive` slows the sender down.
    ///
    /// - Returns: the head, after the last piece of the body.
    /// - Throws: `HTTPFailure`, `CancellationError`, or what `receive` throws.
    func exchange(
        _ request: OutgoingRequest, timeouts: HTTPTimeouts,
        receive: @escaping @Sendable (OutgoingResponseHead, [UInt8]) async throws -> Void
    ) async throws -> OutgoingResponseHead
}
