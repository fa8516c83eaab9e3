import Dispatch
import Domain
import Foundation
import Synchronization
import Testing

private struct Broken: Error, Equatable {}

/// What calls on several threads leave behind, in the order in which they do.
private final class Notes<Note: Sendable>: Sendable {
    private let notes = Mutex<[Note]>([])

    var all: [Note] { notes.withLock { $0 } }

    func add(_ note: Note) { notes.withLock { $0.append(note) } }
}

/// Occupies one thread of the pool, and notes its name; the answer, signalled, lets it go.
private func occupy(_ pool: ThreadPool<Int>, names: Notes<String> = Notes()) async -> DispatchSemaphore {
    let gate = DispatchSemaphore(value: 0)
    await withCheckedContinuation { (begun: CheckedContinuation<Void, Never>) in
        pool.submit { _ in
            names.add(Thread.current.name ?? "")
            begun.resume()
            gate.wait()
        }
    }
    return gate
}

/// What a submitted call was given, in a word.
private func word(for resource: Result<Int, any Error>) -> String {
    switch resource {
    case .success: "made"
    case .failure(is ThreadPool<Int>.Full): "full"
    case .failure(is ThreadPool<Int>.Closed): "closed"
    case .failure: "broken"
    }
}

private func makePool(threads: Int = 1, maximumWaiting: Int = 1000) -> ThreadPool<Int> {
    ThreadPool(name: "test", threads: threads, maximumWaiting: maximumWaiting) { 7 }
}

@Suite("ThreadPool", .timeLimit(.minutes(1)))
struct ThreadPoolTests {
    @Test("A call is given the resource, and its value comes back")
    func value() async throws {
        let pool = makePool()
        defer { pool.close() }
        let value = try await pool.run { resource in resource * 6 }
        #expect(value == 42)
    }

    @Test("What a call throws comes back")
    func failure() async {
        let pool = makePool()
        defer { pool.close() }
        await #expect(throws: Broken()) { try await pool.run { _ -> Int in throw Broken() } }
    }

    @Test("One thread runs the calls in the order of asking")
    func order() {
        let pool = makePool()
        let notes = Notes<Int>()
        for number in 0..<500 { pool.submit { _ in notes.add(number) } }
        pool.close()
        #expect(notes.all == Array(0..<500))
    }

    @Test("Every call of a pool of one runs on the same thread")
    func ownThread() async throws {
        let pool = makePool()
        defer { pool.close() }
        let first = try await pool.run { _ in UInt64(pthread_self()) }
        for _ in 0..<20 {
            await Task.yield()
            let next = try await pool.run { _ in UInt64(pthread_self()) }
            #expect(next == first)
        }
    }

    @Test("As many calls as there are threads run at one time")
    func parallelCalls() async {
        let pool = makePool(threads: 3)
        let names = Notes<String>()
        var gates: [DispatchSemaphore] = []
        for _ in 0..<3 { gates.append(await occupy(pool, names: names)) }
        // All three are held at their gates at once.
        #expect(names.all.count == 3)
        for gate in gates { gate.signal() }
        pool.close()
    }

    @Test("A call beyond what may wait is refused as Full, and the pool goes on")
    func full() async throws {
        let pool = makePool(maximumWaiting: 2)
        let notes = Notes<Int>()
        let gate = await occupy(pool)
        for number in 0..<2 { pool.submit { _ in notes.add(number) } }
        await #expect(throws: ThreadPool<Int>.Full.self) { try await pool.run { _ in 1 } }
        gate.signal()
        while notes.all.count < 2 { try await Task.sleep(for: .milliseconds(1)) }
        let value = try await pool.run { _ in 2 }
        #expect(value == 2)
        pool.close()
    }

    @Test("What is submitted to a full pool is called at once, and told so")
    func submitWhenFull() async {
        let pool = makePool(maximumWaiting: 1)
        let gate = await occupy(pool)
        pool.submit { _ in }
        let notes = Notes<String>()
        pool.submit { resource in notes.add(word(for: resource)) }
        #expect(notes.all == ["full"])
        gate.signal()
        pool.close()
    }

    @Test("A closed pool refuses calls as Closed")
    func closed() async {
        let pool = makePool()
        pool.close()
        await #expect(throws: ThreadPool<Int>.Closed.self) { try await pool.run { _ in 1 } }
    }

    @Test("What is submitted to a closed pool is called at once, and told so")
    func submitWhenClosed() {
        let pool = makePool()
        pool.close()
        let notes = Notes<String>()
        pool.submit { resource in notes.add(word(for: resource)) }
        #expect(notes.all == ["closed"])
    }

    @Test("Closing waits for the calls that run and for those that wait", arguments: [1, 4])
    func closeWaits(threads: Int) {
        let pool = makePool(threads: threads)
        let notes = Notes<String>()
        for _ in 0..<20 {
            pool.submit { resource in
                Thread.sleep(forTimeInterval: 0.005)
                notes.add(word(for: resource))
            }
        }
        pool.close()
        #expect(notes.all == Array(repeating: "made", count: 20))
    }

    @Test("Closing twice does not hang")
    func closeTwice() async {
        let pool = makePool()
        pool.close()
        pool.close()
        await #expect(throws: ThreadPool<Int>.Closed.self) { try await pool.run { _ in 1 } }
    }

    @Test("A thread makes its resource once, before its first call")
    func oneResource() async throws {
        let made = Notes<String>()
        let pool = ThreadPool<Int>(name: "test", threads: 1, maximumWaiting: 10) {
            made.add(Thread.current.name ?? "")
            return made.all.count
        }
        defer { pool.close() }
        for _ in 0..<5 {
            let resource = try await pool.run { resource in resource }
            #expect(resource == 1)
        }
        #expect(made.all.count == 1)
    }

    @Test("A call whose resource cannot be made throws, and the next one tries to make it again")
    func resourceOnSecondTry() async throws {
        let tries = Notes<Int>()
        let pool = ThreadPool<Int>(name: "test", threads: 1, maximumWaiting: 10) {
            tries.add(1)
            if tries.all.count == 1 { throw Broken() }
            return 7
        }
        defer { pool.close() }
        await #expect(throws: (any Error).self) { try await pool.run { resource in resource } }
        let resource = try await pool.run { resource in resource }
        #expect(resource == 7)
    }

    @Test("A call is told why its resource could not be made")
    func resourceFailure() async {
        let pool = ThreadPool<Int>(name: "test", threads: 1, maximumWaiting: 10) { throw Broken() }
        let notes = Notes<String>()
        pool.submit { resource in notes.add(word(for: resource)) }
        await #expect(throws: Broken()) { try await pool.run { resource in resource } }
        pool.close()
        #expect(notes.all == ["broken"])
    }
}
