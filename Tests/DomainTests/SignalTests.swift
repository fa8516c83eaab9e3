import Domain
import Synchronization
import Testing

/// A number that several tasks share.
private final class Counter: Sendable {
    private let count = Mutex(0)

    var value: Int { count.withLock { $0 } }

    func increment() { count.withLock { $0 += 1 } }
}

/// Far longer than any of these tests may take.
private let never: Duration = .seconds(300)

@Suite("Signal", .timeLimit(.minutes(1)))
struct SignalTests {
    @Test("Every notice raises the generation by one")
    func generation() {
        let signal = Signal()
        #expect(signal.generation == 0)
        signal.notify()
        signal.notify()
        #expect(signal.generation == 2)
    }

    @Test("A notice between looking and waiting is not lost")
    func noticeBeforeWait() async {
        let signal = Signal()
        let generation = signal.generation
        signal.notify()
        let started = ContinuousClock.now
        await signal.wait(after: generation, atMost: never)
        #expect(ContinuousClock.now - started < .seconds(30))
    }

    @Test("A notice from before looking does not end a wait")
    func oldNotice() async {
        let signal = Signal()
        signal.notify()
        let started = ContinuousClock.now
        await signal.wait(after: signal.generation, atMost: .milliseconds(100))
        #expect(ContinuousClock.now - started >= .milliseconds(100))
    }

    @Test("One notice wakes every waiting task")
    func wakesAll() async throws {
        let signal = Signal()
        let woken = Counter()
        let generation = signal.generation
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    await signal.wait(after: generation, atMost: never)
                    woken.increment()
                }
            }
            try await Task.sleep(for: .milliseconds(100))
            #expect(woken.value == 0)
            signal.notify()
            try await group.waitForAll()
        }
        #expect(woken.value == 50)
    }

    @Test("Whoever looks and waits in turn sees every change, however the notices fall")
    func losesNothing() async {
        let signal = Signal()
        let produced = Counter()
        let producer = Task {
            for _ in 0..<2000 {
                produced.increment()
                signal.notify()
                await Task.yield()
            }
        }
        while true {
            let generation = signal.generation
            if produced.value == 2000 { break }
            await signal.wait(after: generation, atMost: never)
        }
        await producer.value
        #expect(signal.generation == 2000)
    }

    @Test("A wait ends when its time is over")
    func timeout() async {
        let signal = Signal()
        let started = ContinuousClock.now
        await signal.wait(after: signal.generation, atMost: .milliseconds(50))
        let waited = ContinuousClock.now - started
        #expect(waited >= .milliseconds(50))
        #expect(waited < .seconds(30))
    }

    @Test("Cancelling a task ends its wait and leaves the others waiting")
    func cancellation() async throws {
        let signal = Signal()
        let woken = Counter()
        let cancelled = Task { await signal.wait(after: 0, atMost: never) }
        let patient = Task {
            await signal.wait(after: 0, atMost: never)
            woken.increment()
        }
        try await Task.sleep(for: .milliseconds(50))
        cancelled.cancel()
        await cancelled.value
        #expect(woken.value == 0)
        signal.notify()
        await patient.value
        #expect(woken.value == 1)
    }

    @Test("A task that was cancelled before does not begin to wait")
    func cancelledBefore() async {
        let signal = Signal()
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            await signal.wait(after: 0, atMost: never)
        }
        task.cancel()
        let started = ContinuousClock.now
        await task.value
        #expect(ContinuousClock.now - started < .seconds(30))
    }
}
