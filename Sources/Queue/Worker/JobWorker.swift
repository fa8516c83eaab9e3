import Domain
import Logging
import Metrics
import ServiceLifecycle

/// How a worker paces itself.
public struct JobWorkerConfiguration: Sendable {
    /// Jobs at work at one time in this process. Jobs wait on models and tools, not on cores.
    public var slots = 64
    /// How long a claimed job stays ours without a renewal. A frozen process loses its jobs after this.
    public var lease: Duration = .seconds(6)
    /// How often leases are renewed: three chances before one runs out.
    public var renewal: Duration = .seconds(2)
    /// How often the queue is looked at without a signal, which also finds retries that are due.
    public var poll: Duration = .milliseconds(500)
    /// How long a shutdown lets jobs finish before they are handed back.
    public var drain: Duration = .seconds(10)

    public init() {}
}

/// Every attempt at the job took its worker down.
private struct AttemptsUsedUp: Error, CustomStringConvertible {
    let description = "The job was started as often as it may be, and never ended."
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
    private let held = HeldLeases()
    private let backoff = Backoff()

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
    }

    public func run() async throws {
        let stopping = Flag()
        await withGracefulShutdownHandler {
            await withTaskGroup(of: Void.self) { upkeep in
                upkeep.addTask { await self.keepLeases() }
                await withDiscardingTaskGroup { jobs in
                    while !stopping.isSet && !Task.isCancelled {
                        let generation = signal.generation
                        let free = configuration.slots - held.count
                        let until = ContinuousClock.now + configuration.lease
                        let leases = await claim(limit: free)
                        for lease in leases {
                            let revoked = held.insert(lease, until: until)
                            jobs.addTask { await self.execute(lease, revoked: revoked) }
                        }
                        if leases.isEmpty || leases.count < free {
                            await signal.wait(after: generation, atMost: configuration.poll)
                        }
                    }
                    await drain()
                }
                upkeep.cancelAll()
            }
        } onGracefulShutdown: {
            stopping.set()
            signal.notify()
        }
    }

    private func claim(limit: Int) async -> [JobLease] {
        guard limit > 0 else { return [] }
        do {
            return try await store.claim(kinds: Array(handlers.keys), limit: limit, lease: configuration.lease)
        } catch {
            logger.error("Could not claim jobs.", metadata: ["error": "\(error)"])
            return []
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
        held.remove(lease)
        signal.notify()
        Counter(label: "sba_jobs_total", dimensions: [("kind", lease.kind.rawValue), ("outcome", outcome)]).increment()
        Recorder(label: "sba_job_duration_ms", dimensions: [("kind", lease.kind.rawValue)])
            .record((ContinuousClock.now - started).milliseconds)
    }

    /// Runs the handler until it ends or its lease is revoked, which cancels it.
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
            var result: Result<JobOutcome, any Error>?
            while let ended = await group.next() {
                result = ended ?? result
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
                try await store.complete(lease)
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
                if lease.attempt >= lease.maximumAttempts {
                    try await handlers[lease.kind]?.giveUp(lease, reason: "\(error)")
                }
                let delay = backoff.delay(attempt: lease.attempt, random: ambient.random())
                try await store.fail(lease, error: "\(error)", delay: delay)
                logger.error("The job failed.", metadata: ["error": "\(error)", "attempt": "\(lease.attempt)"])
                return "failed"
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
            await rescueExpired()
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

    private func rescueExpired() async {
        do {
            let count = try await store.rescue(all: false)
            if count > 0 {
                logger.warning("Rescued jobs whose lease had run out.", metadata: ["count": "\(count)"])
                signal.notify()
            }
        } catch {
            logger.error("Could not look for lost jobs.", metadata: ["error": "\(error)"])
        }
    }
}
