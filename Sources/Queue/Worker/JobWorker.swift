import Domain
import Logging
import Metrics
import ServiceLifecycle

/// How a worker paces itself.
public struct JobWorkerConfiguration: Sendable {
    /// Names the process where people look at jobs.
    public var name = "worker"
    /// How long a claimed job stays ours without a renewal. A frozen process loses its jobs after this.
    public var lease: Duration = .seconds(6)
    /// How often leases are renewed: three chances before one runs out.
    public var renewal: Duration = .seconds(2)
    /// How often the queue is looked at without a signal, which also finds jobs that are due.
    public var poll: Duration = .milliseconds(500)
    /// How long a shutdown lets jobs finish before they are handed back.
    public var drain: Duration = .seconds(10)
    /// Jobs of one kind that are claimed at one time.
    public var claimed = 100

    public init() {}
}

/// Claims jobs and runs their handlers: a signal wakes it, a poll is the safety net.
///
/// On graceful shutdown it claims no more, lets running jobs finish within `drain`, then cancels them and hands them back.
public struct JobWorker: Service {
    private let store: any JobStore
    private let handlers: [JobKind: any JobHandler]
    private let configuration: JobWorkerConfiguration
    private let signal: Signal
    private let ambient: Ambient
    private let logger: Logger
    private let held: HeldLeases
    private let completions: Completions

    /// - Parameter signal: notified after a job became available; shared with whoever enqueues.
    public init(
        store: any JobStore, handlers: [any JobHandler], configuration: JobWorkerConfiguration = .init(),
        signal: Signal, ambient: Ambient = .system, logger: Logger
    ) {
        self.store = store
        self.handlers = Dictionary(uniqueKeysWithValues: handlers.map { ($0.kind, $0) })
        self.configuration = configuration
        self.signal = signal
        self.ambient = ambient
        self.logger = logger
        let held = HeldLeases()
        self.held = held
        completions = Completions(store: store) { leases in
            held.remove(leases)
            signal.notify()
        }
    }

    /// How many jobs of each kind are at work here.
    public var active: [JobKind: Int] {
        let counts = held.counts
        return handlers.mapValues { counts[$0.kind] ?? 0 }
    }

    public func run() async throws {
        let stopping = Flag()
        await withGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { upkeep in
                upkeep.addTask { await self.keepLeases() }
                upkeep.addTask { await self.rescueExpired() }
                upkeep.addTask { await completions.run() }
                await withDiscardingTaskGroup { jobs in
                    await work(&jobs, until: stopping)
                    await drain()
                }
                upkeep.cancelAll()
            }
        } onGracefulShutdown: {
            stopping.set()
            signal.notify()
        }
    }

    private func work(_ jobs: inout DiscardingTaskGroup, until stopping: Flag) async {
        var cursors = handlers.keys.sorted { $0.rawValue < $1.rawValue }.map { QueueCursor($0) }
        while !stopping.isSet && !Task.isCancelled {
            let generation = signal.generation
            let began = ContinuousClock.now
            let counts = held.counts
            let claims = cursors.indices.map { place in
                let kind = cursors[place].kind
                let free = (handlers[kind]?.policy.slots ?? 0) - (counts[kind] ?? 0)
                return cursors[place].claim(limit: min(free, configuration.claimed), at: began)
            }
            let claimed = await claim(claims)
            let leases = claimed ?? []
            if claimed != nil {
                for place in cursors.indices { cursors[place].note(claims[place], leases, began: began) }
            }
            for lease in leases {
                let revoked = held.insert(lease, until: began + configuration.lease)
                jobs.addTask { await self.execute(lease, revoked: revoked) }
            }
            // A queue may hold more than was asked for at one time.
            let isFull = claims.contains { $0.limit == configuration.claimed && leases.count >= $0.limit }
            if !isFull { await signal.wait(after: generation, atMost: configuration.poll) }
        }
    }

    /// `nil` when the store could not be asked.
    private func claim(_ claims: [JobClaim]) async -> [JobLease]? {
        do {
            return try await store.claim(claims, lease: configuration.lease, worker: configuration.name)
        } catch {
            logger.error("Could not claim jobs.", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// Waits for running jobs, at most `drain`; then revokes what is left, which hands it back.
    private func drain() async {
        let deadline = ContinuousClock.now + configuration.drain
        while held.count > 0, ContinuousClock.now < deadline, !Task.isCancelled {
            let generation = signal.generation
            guard held.count > 0 else { break }
            await signal.wait(after: generation, atMost: deadline - .now)
        }
        held.revokeAll()
    }

    // MARK: One job

    private func execute(_ lease: JobLease, revoked: AsyncStream<Never>) async {
        var logger = logger
        logger[metadataKey: "job_id"] = "\(lease.job)"
        logger[metadataKey: "tenant_id"] = "\(lease.tenant)"
        let started = ContinuousClock.now
        let result = await runHandler(lease, revoked: revoked)
        let outcome = await settle(lease, result, logger: logger)
        held.remove([lease])
        signal.notify()
        WorkerMetrics.note(lease.kind, outcome: outcome, result, duration: .now - started)
    }

    /// Every attempt at the job took its worker down, or nobody wants it done any more.
    private struct AttemptsUsedUp: Error, CustomStringConvertible {
        let description = "No attempt is left: each ended in a crash, or an operator gave the job up."
    }

    private struct TimedOut: ClassifiedError, CustomStringConvertible {
        let failureClass = FailureClass.timeout
        let description: String
    }

    /// Runs the handler until it ends, its time is over or its lease is revoked, which cancels it.
    private func runHandler(_ lease: JobLease, revoked: AsyncStream<Never>) async -> Result<JobOutcome, any Error> {
        guard let handler = handlers[lease.kind] else { return .failure(CancellationError()) }
        guard lease.attempt <= lease.maximumAttempts else { return .failure(AttemptsUsedUp()) }
        let context = JobContext(lease: lease, remainingLease: { [held] in held.remaining(of: lease) })
        return await withTaskGroup(of: Result<JobOutcome, any Error>?.self) { group in
            group.addTask {
                do { return .success(try await handler.handle(context)) } catch { return .failure(error) }
            }
            group.addTask {
                for await _ in revoked {}
                return nil
            }
            if let timeout = handler.policy.timeout {
                group.addTask {
                    do { try await Task.sleep(for: timeout) } catch { return nil }
                    return .failure(TimedOut(description: "The job took longer than \(timeout)."))
                }
            }
            // The first to end decides; but what was done is done, however late.
            var result: Result<JobOutcome, any Error>?
            while let ended = await group.next() {
                if case .success? = ended { result = ended } else { result = result ?? ended }
                group.cancelAll()
            }
            return result ?? .failure(CancellationError())
        }
    }

    /// Moves the job on after its handler has ended; answers how it ended, for the metric.
    private func settle(_ lease: JobLease, _ result: Result<JobOutcome, any Error>, logger: Logger) async -> String {
        do {
            switch result {
            case .success(.completed):
                try await completions.complete(lease)
                return "completed"
            case .success(.settled):
                return "completed"
            case .failure(is FenceLost):
                logger.notice("The job went to another worker.")
                return "fenced"
            case .failure(is CancellationError):
                try await store.release(lease)
                logger.info("The job was handed back.")
                return "released"
            case .failure(let error):
                let isLast = lease.attempt >= lease.maximumAttempts
                let handler = handlers[lease.kind]
                if isLast { try await handler?.giveUp(lease, reason: "\(error)") }
                let backoff = handler?.policy.backoff ?? Backoff()
                let delay = backoff.delay(attempt: lease.attempt, random: ambient.random())
                try await store.fail(lease, error: "\(error)", delay: delay)
                // What another server did not take is not this one's fault, and tried again.
                logger.log(
                    level: isLast || FailureClass(error) == .other ? .error : .notice, "The job failed.",
                    metadata: ["error": "\(error)", "attempt": "\(lease.attempt)"])
                return isLast ? "discarded" : "failed"
            }
        } catch is FenceLost {
            return "fenced"
        } catch {
            logger.error("The job's end could not be stored; its lease will run out.", metadata: ["error": "\(error)"])
            return "unsettled"
        }
    }

    // MARK: Leases

    private func keepLeases() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: configuration.renewal)
            await renewLeases()
        }
    }

    private func renewLeases() async {
        let leases = held.leases
        guard !leases.isEmpty else { return }
        let until = ContinuousClock.now + configuration.lease
        do {
            let renewed = try await store.renew(leases, lease: configuration.lease)
            for lease in leases {
                if renewed.contains(lease) { held.extend(lease, until: until) } else { held.revoke(lease) }
            }
        } catch {
            logger.error("Could not renew leases.", metadata: ["error": "\(error)"])
            held.revokeExpired()
        }
    }

    /// Looking takes at most about this part of the time, however many old rows a database walks over.
    private static let restFactor = 10

    private func rescueExpired() async {
        var rest = configuration.renewal
        while !Task.isCancelled {
            try? await Task.sleep(for: rest)
            let began = ContinuousClock.now
            do {
                let count = try await store.rescue(all: false)
                if count > 0 {
                    logger.warning("Rescued jobs whose lease had run out.", metadata: ["count": "\(count)"])
                    signal.notify()
                }
            } catch {
                logger.error("Could not look for lost jobs.", metadata: ["error": "\(error)"])
            }
            rest = max(configuration.renewal, (.now - began) * Self.restFactor)
        }
    }
}
