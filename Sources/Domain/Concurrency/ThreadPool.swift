import Dispatch
import Foundation
import Synchronization

/// Calls that were taken are let go of together, so that taking one costs nothing.
private let maximumTaken = 256

/// Threads of their own for calls that block (SQLite, scrypt), so that they never hold up the cooperative pool.
/// Each thread keeps one `Resource`, made on the thread that uses it.
public final class ThreadPool<Resource>: Sendable {
    /// More work is waiting than the pool takes on.
    public struct Full: Error {}
    /// The pool was closed.
    public struct Closed: Error {}

    private struct State: Sendable {
        var waiting: [@Sendable (Result<Resource, any Error>) -> Void] = []
        var next = 0
        var isClosed = false
        var count: Int { waiting.count - next }

        mutating func take() -> (@Sendable (Result<Resource, any Error>) -> Void)? {
            guard next < waiting.count else { return nil }
            let call = waiting[next]
            // What the call holds on to goes with it.
            waiting[next] = { _ in }
            next += 1
            if next == waiting.count || next > maximumTaken {
                waiting.removeFirst(next)
                next = 0
            }
            return call
        }
    }

    private let state: Mutex<State>
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let maximumWaiting: Int
    private let threads: Int

    /// - Parameters:
    ///   - threads: how many calls run at one time.
    ///   - maximumWaiting: how many more may wait; beyond, `run` throws `Full`.
    ///   - make: makes a thread's resource before its first call; when it throws, so does the call.
    public init(
        name: String, threads: Int, maximumWaiting: Int, make: @escaping @Sendable () throws -> Resource
    ) {
        state = Mutex(State())
        self.threads = threads
        self.maximumWaiting = maximumWaiting
        for number in 0..<threads {
            Thread.detachNewThread { [self] in
                Thread.current.name = "\(name)-\(number)"
                work(make)
            }
        }
    }

    /// Runs `call` on one of the threads, in the order of asking.
    ///
    /// - Throws: what `call` throws, `Full`, or `Closed`.
    public func run<Value: Sendable>(_ call: @escaping @Sendable (Resource) throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let refusal = enqueue { resource in
                continuation.resume(with: Result { try call(resource.get()) })
            }
            if let refusal { continuation.resume(throwing: refusal) }
        }
    }

    /// Runs `call` on one of the threads without waiting for it. A failure stands for a resource that could not be made,
    /// or for a pool that is full or closed: the call is then made at once, where it was submitted.
    public func submit(_ call: @escaping @Sendable (Result<Resource, any Error>) -> Void) {
        if let refusal = enqueue(call) { call(.failure(refusal)) }
    }

    private func enqueue(_ call: @escaping @Sendable (Result<Resource, any Error>) -> Void) -> (any Error)? {
        let refusal: (any Error)? = state.withLock { state in
            if state.isClosed { return Closed() }
            if state.count >= maximumWaiting { return Full() }
            state.waiting.append(call)
            return nil
        }
        if refusal == nil { wake.signal() }
        return refusal
    }

    /// Lets waiting calls finish, ends the threads, and waits for them.
    public func close() {
        let wasClosed = state.withLock { state in
            defer { state.isClosed = true }
            return state.isClosed
        }
        guard !wasClosed else { return }
        for _ in 0..<threads { wake.signal() }
        for _ in 0..<threads { ended.wait() }
    }

    private func work(_ make: @Sendable () throws -> Resource) {
        var made: Resource?
        while true {
            wake.wait()
            let (call, isClosed) = state.withLock { ($0.take(), $0.isClosed) }
            if let call {
                let resource = Result { try made ?? make() }
                made = try? resource.get()
                call(resource)
            } else if isClosed {
                break
            }
        }
        made = nil
        ended.signal()
    }
}
