import CLibPQ
import Domain
import Foundation
import Glibc
import Synchronization

/// Hears what is said on one channel of PostgreSQL's LISTEN and NOTIFY, over a connection and a thread of its own.
///
/// Signals are lost while the connection is; after it is back, `onSignal` is called once for whatever was missed.
public final class PostgresListener: Sendable {
    /// Between two tries to connect.
    private static let retry: Duration = .seconds(1)

    private let configuration: PostgresConfiguration
    private let channel: String
    private let onSignal: @Sendable (_ payload: String?) -> Void
    private let onFailure: @Sendable (_ reason: String) -> Void
    private let wakeUp = WakeUp()
    private let isClosing = Mutex(false)
    private let ended = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - configuration: how to connect, past any pooler in transaction mode.
    ///   - channel: an identifier that needs no quotes.
    ///   - onSignal: called on the listener's thread with what was said, or `nil` when something may have been missed.
    ///   - onFailure: called there when it cannot listen, once until it can again; it keeps trying.
    public init(
        _ configuration: PostgresConfiguration, channel: String, onSignal: @escaping @Sendable (_ payload: String?) -> Void,
        onFailure: @escaping @Sendable (_ reason: String) -> Void
    ) {
        self.configuration = configuration
        self.channel = channel
        self.onSignal = onSignal
        self.onFailure = onFailure
        Thread.detachNewThread { [self] in
            Thread.current.name = "pg-listen"
            keepListening()
            ended.signal()
        }
    }

    private func keepListening() {
        var isTold = false
        while !isClosing.withLock({ $0 }) {
            do throws(PostgresError) {
                try listen()
                isTold = false
            } catch {
                if case .notConnected(let reason) = error, !isTold { onFailure(reason) }
                isTold = true
                // A descriptor below zero is passed over.
                _ = wait(for: -1, atMost: Int32(Self.retry.milliseconds))
            }
        }
    }

    /// Ends the connection and waits for its thread.
    public func close() {
        isClosing.withLock { $0 = true }
        wakeUp.signal()
        ended.wait()
    }

    /// Listens until the connection breaks or the listener closes.
    ///
    /// - Throws: `notConnected` when it cannot begin.
    private func listen() throws(PostgresError) {
        let handle = try PostgresHandle(configuration)
        let result = PQexec(handle.pointer, "LISTEN \(channel)")
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_COMMAND_OK else { throw .notConnected(handle.message) }
        onSignal(nil)
        while wait(for: handle.socket), handle.consume() {
            while let notification = PQnotifies(handle.pointer) {
                onSignal(String(cString: notification.pointee.extra))
                PQfreemem(notification)
            }
        }
    }

    /// Waits until something comes; answers false when the listener closes.
    private func wait(for socket: Int32, atMost milliseconds: Int32 = -1) -> Bool {
        var descriptors = [wakeUp.interest, pollfd(fd: socket, events: Int16(POLLIN), revents: 0)]
        poll(&descriptors, nfds_t(descriptors.count), milliseconds)
        return !isClosing.withLock { $0 }
    }
}
