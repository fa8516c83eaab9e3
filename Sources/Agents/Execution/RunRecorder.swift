import Domain
import Queue

/// Why a run's work was stopped from outside.
enum RunInterruption: Error {
    case cancelled
    case expired
}

/// Writes one run's log while a worker holds it: gathers text deltas, commits, publishes, and notices a cancellation.
actor RunRecorder {
    /// Text waits only until there is this much of it.
    static let maximumPendingBytes = 1024
    /// Between two tries of a commit that the storage could not take.
    static let retryPause: Duration = .milliseconds(200)
    /// How long a silent run may take to notice a cancellation.
    static let cancelPoll: Duration = .milliseconds(500)

    let run: Run
    private let store: any RunStore
    private let bus: any EventBus
    private let ambient: Ambient
    private let lease: JobLease
    private let remainingLease: @Sendable () -> Duration
    /// How often a call is looked after: twice in the time that text may wait, which holds it.
    private let tick: Duration
    /// Text this old is stored at the next look.
    private let flushAge: Duration

    private var authority: RunCommit.Authority
    /// A commit that failed: what it held is gone, so nothing may follow it.
    private var failure: (any Error)?
    private var lastTime: Timestamp
    private(set) var open: OpenItems
    private var pending: [RunEvent] = []
    private var pendingBytes = 0
    private var pendingSince: ContinuousClock.Instant?
    private var lastContact = ContinuousClock.now
    private let deadline: Timestamp
    /// Commits of one run are made one after another, whoever asks for them.
    private var isCommitting = false
    private var queued: [CheckedContinuation<Void, Never>] = []

    init(
        snapshot: RunSnapshot, open: OpenItems, context: JobContext, store: any RunStore, bus: any EventBus,
        textDelay: Duration, ambient: Ambient
    ) {
        run = snapshot.run
        self.store = store
        self.bus = bus
        self.ambient = ambient
        lease = context.lease
        remainingLease = context.remainingLease
        flushAge = textDelay / 2
        tick = min(textDelay / 2, Self.cancelPoll)
        self.open = open
        authority = .taking(token: snapshot.token, lastSeq: snapshot.lastSeq, lease: lease)
        deadline = snapshot.run.deadline
        lastTime = snapshot.run.createdAt
    }

    // MARK: Writing

    /// Takes events of a stream. They are stored soon, in order, without waiting for each.
    func stream(_ events: [RunEvent]) async throws {
        for event in events { gather(event) }
        if pendingBytes >= Self.maximumPendingBytes { try await commit([], []) }
    }

    /// Joins a text delta to the one before it: fewer rows, the same text.
    private func gather(_ event: RunEvent) {
        if pendingSince == nil { pendingSince = .now }
        pendingBytes += Self.size(of: event)
        switch (pending.last, event) {
        case (.textMessageContent(let id, let start), .textMessageContent(let next, let delta)) where id == next:
            pending[pending.count - 1] = .textMessageContent(messageID: id, delta: start + delta)
        case (.toolCallArguments(let id, let start), .toolCallArguments(let next, let delta)) where id == next:
            pending[pending.count - 1] = .toolCallArguments(toolCallID: id, delta: start + delta)
        default:
            pending.append(event)
        }
    }

    private static func size(of event: RunEvent) -> Int {
        switch event {
        case .textMessageContent(_, let delta), .toolCallArguments(_, let delta): delta.utf8.count
        default: 0
        }
    }

    /// Stores what is pending, then `events`, with their effects, in one commit, and publishes it.
    ///
    /// - Throws: `FenceLost`, or `RunInterruption` when a cancellation was asked for; the commit was made then.
    func commit(_ events: [RunEvent], _ effects: [RunEffect]) async throws {
        let receipt = try await write(events, effects)
        if receipt?.isCancelRequested == true { throw RunInterruption.cancelled }
    }

    /// The same for the last commit of this worker's turn; answers whether a cancellation was asked for too late for it.
    @discardableResult
    func commitLast(_ events: [RunEvent], _ effects: [RunEffect]) async throws -> Bool {
        try await write(events, effects + [.jobCompleted(lease)])?.isCancelRequested ?? false
    }

    /// Cancels a run that has just begun to wait, while the fence is still held.
    func cancelWaiting() async throws {
        _ = try await write(
            open.closing + [.runFinished(outcome: .cancelled)], [.unfinishedAbandoned, .status(.cancelled)])
    }

    private func write(_ events: [RunEvent], _ effects: [RunEffect]) async throws -> RunReceipt? {
        await enter()
        defer { leave() }
        if let failure { throw failure }
        let all = pending + events
        dropPending()
        guard !all.isEmpty || !effects.isEmpty else { return nil }
        // A log's time never goes back, even where the clock does.
        lastTime = max(lastTime, ambient.now())
        let commit = RunCommit(
            tenant: run.tenant, run: run.id, authority: authority, events: all, effects: effects, time: lastTime)
        let receipt: RunReceipt
        do {
            receipt = try await store(commit)
        } catch {
            failure = error
            throw error
        }
        authority = .holding(token: commit.token, lastSeq: receipt.lastSeq)
        lastContact = .now
        for event in all { open.apply(event) }
        if !all.isEmpty { bus.publish(commit.signal(receipt)) }
        return receipt
    }

    /// Commits, and tries again while the storage is out of order and the lease is ours: what a tool answered is known only
    /// here.
    private func store(_ commit: RunCommit) async throws -> RunReceipt {
        while true {
            do {
                return try await store.commit(commit)
            } catch let error as StorageError
                where error.isPassing && remainingLease() > Self.retryPause * 4 && ambient.now() < deadline
            {
                do { try await Task.sleep(for: Self.retryPause) } catch { throw error }
            }
        }
    }

    private func enter() async {
        if isCommitting {
            await withCheckedContinuation { queued.append($0) }
        } else {
            isCommitting = true
        }
    }

    private func leave() {
        if queued.isEmpty { isCommitting = false } else { queued.removeFirst().resume() }
    }

    /// Drops what was streamed and not stored: the attempt it belongs to is over.
    func dropPending() { (pending, pendingBytes, pendingSince) = ([], 0, nil) }

    // MARK: Beside a call

    /// Runs a model or tool call; stores what it streams in time, and ends it when the run is cancelled or expires.
    func attending<Value: Sendable>(_ call: @escaping @Sendable () async throws -> Value) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await call() }
            group.addTask {
                while true {
                    try await Task.sleep(for: self.tick)
                    try await self.tend()
                }
            }
            defer { group.cancelAll() }
            while let ended = try await group.next() {
                if let ended { return ended }
            }
            throw CancellationError()
        }
    }

    private func tend() async throws {
        if ambient.now() > deadline { throw RunInterruption.expired }
        if let since = pendingSince, .now - since >= flushAge {
            try await commit([], [])
        } else if .now - lastContact >= Self.cancelPoll {
            lastContact = .now
            // A look that fails is no reason to give up the call: the next one comes soon.
            let isRequested = (try? await store.isCancelRequested(tenant: run.tenant, run: run.id)) ?? false
            if isRequested { throw RunInterruption.cancelled }
        }
    }

    func checkDeadline() throws {
        if ambient.now() > deadline { throw RunInterruption.expired }
    }
}
