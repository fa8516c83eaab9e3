import Domain
import Synchronization

/// Marks jobs as done, as many in one transaction as have ended while the last was under way.
final class Completions: Sendable {
    private typealias Waiting = (lease: JobLease, continuation: CheckedContinuation<Void, any Error>)

    /// Jobs in one transaction.
    private static let maximumTogether = 256

    private let waiting = Mutex<[Waiting]>([])
    private let signal = Signal()
    private let store: any JobStore
    private let onCompleted: @Sendable ([JobLease]) -> Void

    /// - Parameter onCompleted: told of jobs that are done, before whoever did them is.
    init(store: any JobStore, onCompleted: @escaping @Sendable ([JobLease]) -> Void) {
        self.store = store
        self.onCompleted = onCompleted
    }

    /// Returns when the job is marked, which `run` does.
    ///
    /// - Throws: `FenceLost`, or why the job could not be marked.
    func complete(_ lease: JobLease) async throws {
        try await withCheckedThrowingContinuation { continuation in
            waiting.withLock { $0.append((lease, continuation)) }
            signal.notify()
        }
    }

    /// Works until it is cancelled, which may be once nobody waits.
    func run() async {
        while !Task.isCancelled {
            let generation = signal.generation
            let batch = take()
            if batch.isEmpty {
                await signal.wait(after: generation, atMost: .seconds(60))
            } else {
                await store(batch)
            }
        }
    }

    private func take() -> [Waiting] {
        waiting.withLock { waiting in
            let batch = Array(waiting.prefix(Self.maximumTogether))
            waiting.removeFirst(batch.count)
            return batch
        }
    }

    private func store(_ batch: [Waiting]) async {
        do {
            let done = try await store.complete(batch.map(\.lease))
            onCompleted(batch.map(\.lease).filter(done.contains))
            for one in batch {
                one.continuation.resume(with: done.contains(one.lease) ? .success(()) : .failure(FenceLost()))
            }
        } catch {
            for one in batch { one.continuation.resume(throwing: error) }
        }
    }
}
