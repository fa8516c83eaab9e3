import Queue
import Testing

/// The shortest wait after each failure, with a base of one second and a cap of one minute.
private let shortest: [(Int, Duration)] = [
    (1, .milliseconds(500)), (2, .seconds(1)), (3, .seconds(2)), (4, .seconds(4)), (5, .seconds(8)), (6, .seconds(16)),
    (7, .seconds(30)), (8, .seconds(30)), (21, .seconds(30)), (1000, .seconds(30)), (Int.max, .seconds(30)),
]

@Suite("Backoff")
struct BackoffTests {
    @Test("A wait doubles with each failure, up to the cap", arguments: shortest)
    func doubles(attempt: Int, expected: Duration) {
        #expect(Backoff().delay(attempt: attempt, random: 0) == expected)
    }

    @Test("Random numbers lengthen a wait to at most twice the shortest", arguments: shortest)
    func jitter(attempt: Int, shortest: Duration) {
        let half = Backoff().delay(attempt: attempt, random: 0.5)
        let most = Backoff().delay(attempt: attempt, random: 1.0.nextDown)
        #expect(half == shortest * 3 / 2)
        #expect(most > shortest)
        #expect(most <= shortest * 2)
    }

    @Test("What is no failure number waits like the first", arguments: [0, -1, Int.min])
    func firstAttempt(attempt: Int) {
        #expect(Backoff().delay(attempt: attempt, random: 0) == .milliseconds(500))
    }

    @Test("Base and cap are the caller's")
    func ownBounds() {
        let backoff = Backoff(base: .milliseconds(10), cap: .milliseconds(25))
        let waits = (1...4).map { backoff.delay(attempt: $0, random: 0) }
        let expected: [Duration] = [.milliseconds(5), .milliseconds(10), .microseconds(12_500), .microseconds(12_500)]
        #expect(waits == expected)
    }
}
