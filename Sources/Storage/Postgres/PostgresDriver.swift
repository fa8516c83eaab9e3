import DequeModule
import Domain
import Glibc

/// Drives the connections of a pool, all of them on one thread: it sends what waits, waits until any server says something,
/// and never for one of them.
///
/// Calls are taken in the order in which they came. When more wait than there are connections, several share a round trip.
struct PostgresDriver {
    /// What blocks in libpq has threads of its own.
    struct Threads {
        /// Opens connections.
        let open: ThreadPool<Void>
        /// Tells the server to break off what a connection is at: never behind an opening that takes long.
        let cancel: ThreadPool<Void>

        init(name: String, configuration: PostgresConfiguration) {
            let openings = min(configuration.connections, PostgresConfiguration.maximumOpenings)
            open = ThreadPool(name: "\(name)-open", threads: openings, maximumWaiting: .max) {}
            cancel = ThreadPool(name: "\(name)-cancel", threads: 1, maximumWaiting: .max) {}
        }

        func close() {
            open.close()
            cancel.close()
        }
    }

    private let inbox: PostgresInbox
    private let configuration: PostgresConfiguration
    /// For what blocks.
    private let threads: Threads
    private let connections: [PostgresConnection]
    private var waiting: Deque<PostgresCall> = []
    private var isClosing = false
    private var now = ContinuousClock.now
    /// What is waited for: to be woken, then what the connections at `polled` wait for.
    private var descriptors: [pollfd] = []
    private var polled: [PostgresConnection] = []

    init(inbox: PostgresInbox, threads: Threads, configuration: PostgresConfiguration, ambient: Ambient) {
        self.inbox = inbox
        self.threads = threads
        self.configuration = configuration
        connections = (0..<configuration.connections).map { _ in
            PostgresConnection(configuration: configuration, ambient: ambient)
        }
    }

    /// Returns when the inbox is closed and every call has ended.
    mutating func run() {
        while true {
            takeInbox()
            refuseLate()
            serve()
            openMissing()
            if isClosing, waiting.isEmpty, !connections.contains(where: \.isAtWork) { return inbox.end() }
            wait()
        }
    }

    private mutating func takeInbox() {
        let content = inbox.take(waiting: waiting.count)
        waiting.append(contentsOf: content.calls)
        isClosing = content.isClosing
        for signal in content.signals {
            switch signal {
            case .opened(let place, let result):
                connections[place].opened(result)
                if case .failure(let error) = result, !connections.contains(where: { $0.isOpen || $0.isOpening }) {
                    refuseAll(error)
                }
            case .cancelled(let call):
                for (place, connection) in connections.enumerated() { tell(connection.breakOff(call), place) }
            case .told(let place, let cancel): connections[place].told(cancel)
            }
        }
    }

    /// Nobody waits for a server that cannot be reached.
    private mutating func refuseAll(_ error: PostgresError) {
        for call in waiting { call.end(.failure(error)) }
        waiting.removeAll()
    }

    private mutating func refuseLate() {
        while let first = waiting.first, first.deadline <= now {
            waiting.removeFirst()
            let isAnyOpen = connections.contains(where: \.isOpen)
            let unopened = PostgresError.notConnected("no connection could be opened in time")
            first.end(.failure(isAnyOpen ? StorageError.overloaded : unopened))
        }
    }

    /// Shares those who wait out among the connections that can take them.
    private mutating func serve() {
        guard !waiting.isEmpty else { return }
        let free = connections.filter(\.isFree)
        // Those that are to be opened get their share as well.
        var takers = free.count + connections.count { $0.isOpening || $0.mayOpen(at: now) }
        for connection in free where !waiting.isEmpty {
            let share = (waiting.count + takers - 1) / takers
            connection.take(from: &waiting, atMost: min(share, PostgresConfiguration.maximumTogether))
            takers -= 1
        }
    }

    /// Has connections opened for those who still wait.
    private func openMissing() {
        var missing = waiting.count - connections.count(where: \.isOpening)
        for (place, connection) in connections.enumerated() where missing > 0 && connection.mayOpen(at: now) {
            missing -= 1
            connection.opening()
            threads.open.submit { [inbox, configuration] _ in
                inbox.signal(.opened(place, Self.open(configuration, for: inbox)))
            }
        }
    }

    /// Blocks until the connection is open.
    private static func open(
        _ configuration: PostgresConfiguration, for inbox: PostgresInbox
    ) -> Result<PostgresHandle, PostgresError> {
        do throws(PostgresError) {
            // Many may stand in line, at a server that does not answer.
            if inbox.isOver { throw .notConnected("the database is closed") }
            return .success(try PostgresHandle.inPipeline(configuration))
        } catch {
            return .failure(error)
        }
    }

    private func tell(_ cancel: PostgresCancel?, _ place: Int) {
        guard let cancel else { return }
        threads.cancel.submit { [inbox] _ in
            cancel.send()
            inbox.signal(.told(place, cancel))
        }
    }

    /// Waits until there is something to do, and lets the connections do theirs.
    private mutating func wait() {
        descriptors.removeAll(keepingCapacity: true)
        polled.removeAll(keepingCapacity: true)
        descriptors.append(inbox.wakeUp.interest)
        for connection in connections {
            guard let interest = connection.interest else { continue }
            descriptors.append(interest)
            polled.append(connection)
        }
        poll(&descriptors, nfds_t(descriptors.count), inbox.fallAsleep(knowing: isClosing) ? timeout : 0)
        now = .now
        if descriptors[0].revents != 0 { inbox.wakeUp.clear() }
        for (descriptor, connection) in zip(descriptors.dropFirst(), polled) where descriptor.revents != 0 {
            connection.advance(isReadable: Int32(descriptor.revents) & ~Int32(POLLOUT) != 0)
        }
        for (place, connection) in connections.enumerated() { tell(connection.look(at: now), place) }
    }

    /// Milliseconds until something is due; -1 when nothing will be.
    private var timeout: Int32 {
        var next = waiting.first?.deadline
        for connection in connections {
            guard let time = connection.nextLook(after: now, isWanted: !waiting.isEmpty) else { continue }
            next = next.map { min($0, time) } ?? time
        }
        return next.map { Int32(max(0, ($0 - now).milliseconds.rounded(.up))) } ?? -1
    }
}
