import Domain
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle

/// Runs a Hummingbird server on a free loopback port for as long as `work` takes.
public func withHTTPServer(
    _ router: Router<BasicRequestContext>, _ work: @escaping @Sendable (String) async throws -> Void
) async throws {
    var logger = Logger(label: "test-server")
    logger.logLevel = .critical
    let (ports, continuation) = AsyncStream<Int>.makeStream()
    let application = Application(
        router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
        onServerRunning: { channel in continuation.yield(channel.localAddress?.port ?? 0) }, logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await application.run() }
        var iterator = ports.makeAsyncIterator()
        let port = await iterator.next() ?? 0
        try await work("http://127.0.0.1:\(port)")
        group.cancelAll()
        // The server ends with a cancellation, as it was told.
        while let _ = await group.nextResult() {}
    }
}
