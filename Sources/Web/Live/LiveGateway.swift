import Agents
import Domain
import Logging
import Metrics
import ServiceLifecycle
import Synchronization

/// Streams the logs of runs to whoever watches, each from their own cursor.
///
/// One tail a run is shared by its readers. A reader reads the log when it joins and when it has fallen behind, else it
/// is handed what commits publish; a look at the log once a second makes up for lost signals. Every reader sees every
/// event after its cursor once, in order.
public final class LiveGateway: Service {
    /// Events read from the log at once.
    static let page = 200

    let store: any RunStore
    private let bus: any EventBus
    private let tails = Mutex<[RunID: RunTail]>([:])
    private let closing = Mutex(false)
    private let streams = Gauge(label: "sba_live_streams")
    private let streamCount = Mutex(0)

    public init(store: any RunStore, bus: any EventBus) {
        self.store = store
        self.bus = bus
    }

    /// Passes signals on until shutdown, then ends every stream: clients come back with their cursor.
    public func run() async throws {
        let subscription = bus.subscribe { [self] signal in
            tails.withLock { $0[signal.run] }?.receive(signal)
        }
        try? await gracefulShutdown()
        closing.withLock { $0 = true }
        for tail in tails.withLock({ Array($0.values) }) { tail.signal.notify() }
        subscription.cancel()
    }

    var isClosing: Bool { closing.withLock { $0 } }

    /// - Throws: `Problem` with `shutting_down`.
    func checkOpen() throws(Problem) {
        guard !isClosing else {
            throw Problem(.shuttingDown, "The server is shutting down.", retryAfter: .seconds(2))
        }
    }

    /// Hands over every event after `cursor` until the terminal one, shutdown, the audience's leave, or `deliver` throws.
    ///
    /// - Parameters:
    ///   - idle: called when nothing came for `heartbeat`.
    func follow(
        _ run: Run, after cursor: Int64, audience: Audience, heartbeat: Duration,
        deliver: (ArraySlice<LoggedEvent>) async throws -> Void, idle: () async throws -> Void
    ) async throws {
        let tail = join(run.id)
        defer { leave(run.id, tail) }
        audience.watch(tail)
        var reader = Reader(gateway: self, tail: tail, run: run, cursor: cursor)
        var lastWrite = ContinuousClock.now
        while !audience.hasLeft, !Task.isCancelled, !isClosing {
            let generation = tail.signal.generation
            let events = try await reader.next()
            if !events.isEmpty {
                try await deliver(events)
                lastWrite = .now
            }
            if reader.isAtEnd { return }
            guard events.isEmpty else { continue }
            if .now - lastWrite >= heartbeat {
                try await idle()
                lastWrite = .now
            }
            let rest = heartbeat - (.now - lastWrite)
            await tail.signal.wait(after: generation, atMost: min(rest, RunTail.pollInterval))
            try await poll(tail, run)
        }
    }

    /// Waits until the run has ended or waits for a person, the bound is reached (give or take a second), or the audience
    /// has left.
    func rest(of run: Run, atMost bound: Duration, audience: Audience) async throws {
        let deadline = ContinuousClock.now + bound
        try await follow(run, after: 0, audience: audience, heartbeat: min(bound, RunTail.pollInterval)) { events in
            if .now >= deadline || events.last?.isWaiting == true { audience.leave() }
        } idle: {
            if .now >= deadline { audience.leave() }
        }
    }

    private func join(_ run: RunID) -> RunTail {
        streamCount.withLock { count in
            count += 1
            streams.record(count)
        }
        return tails.withLock { tails in
            let tail = tails[run] ?? RunTail()
            tails[run] = tail
            tail.join()
            return tail
        }
    }

    private func leave(_ run: RunID, _ tail: RunTail) {
        tails.withLock { tails in
            if tail.leave() { tails[run] = nil }
        }
        streamCount.withLock { count in
            count -= 1
            streams.record(count)
        }
    }

    private func poll(_ tail: RunTail, _ run: Run) async throws {
        guard let last = tail.claimPoll() else { return }
        tail.polled(try await store.events(tenant: run.tenant, run: run.id, after: last, limit: Self.page))
    }
}

/// Whoever a stream is for: they may leave at any time, which wakes their reader.
final class Audience: Sendable {
    private struct State {
        var hasLeft = false
        var tail: RunTail?
    }

    private let state = Mutex(State())

    var hasLeft: Bool { state.withLock { $0.hasLeft } }

    func leave() {
        let tail = state.withLock { state in
            state.hasLeft = true
            return state.tail
        }
        tail?.signal.notify()
    }

    fileprivate func watch(_ tail: RunTail) { state.withLock { $0.tail = tail } }
}

/// One reader's place in one run.
private struct Reader {
    let gateway: LiveGateway
    let tail: RunTail
    let run: Run
    var cursor: Int64
    /// The log has been read up to where the tail takes over.
    private var hasJoined = false
    private(set) var isAtEnd = false

    init(gateway: LiveGateway, tail: RunTail, run: Run, cursor: Int64) {
        self.gateway = gateway
        self.tail = tail
        self.run = run
        self.cursor = cursor
    }

    /// The next events, or none when there are none yet.
    mutating func next() async throws -> ArraySlice<LoggedEvent> {
        let events: ArraySlice<LoggedEvent>
        if hasJoined {
            switch tail.window(after: cursor) {
            case .nothingNew: return []
            case .events(let window): events = window
            case .inLog: events = try await readLog()
            }
        } else {
            events = try await readLog()
            if events.count < LiveGateway.page { hasJoined = true }
            tail.noteRead(upTo: events.last?.seq ?? cursor)
            if events.isEmpty, try await hasEnded() { isAtEnd = true }
        }
        if let last = events.last {
            cursor = last.seq
            isAtEnd = last.isTerminal
        }
        return events
    }

    private func readLog() async throws -> ArraySlice<LoggedEvent> {
        try await gateway.store.events(
            tenant: run.tenant, run: run.id, after: cursor, limit: LiveGateway.page)[...]
    }

    /// Whether the reader came after the end of a run that has ended.
    private func hasEnded() async throws -> Bool {
        guard let now = try await gateway.store.run(tenant: run.tenant, run.id) else { return true }
        guard now.status.isFinal else { return false }
        return try await readLog().isEmpty
    }
}
