import Coordination
import Domain
import TestSupport
import Testing

@Suite("Rate limiter of one process")
struct InProcessRateLimiterTests {
    private let limit = RateLimit(count: 3, per: .seconds(60))

    @Test("a burst up to the count, then one whenever a part of the period has passed")
    func burst() {
        let clock = ManualClock()
        let limiter = InProcessRateLimiter(now: { clock.now })
        for _ in 0..<3 { #expect(limiter.take("a", limit) == nil) }
        #expect(limiter.take("a", limit) == .seconds(20))
        #expect(limiter.take("b", limit) == nil, "keys do not share")
        clock.advance(by: .seconds(19))
        #expect(limiter.take("a", limit) == .seconds(1))
        clock.advance(by: .seconds(1))
        #expect(limiter.take("a", limit) == nil)
        #expect(limiter.take("a", limit) == .seconds(20))
        clock.advance(by: .seconds(600))
        for _ in 0..<3 { #expect(limiter.take("a", limit) == nil) }
        #expect(limiter.take("a", limit) != nil)
    }

    @Test("what is given back was not taken")
    func giveBack() {
        let clock = ManualClock()
        let limiter = InProcessRateLimiter(now: { clock.now })
        for _ in 0..<100 {
            #expect(limiter.take("a", limit) == nil)
            limiter.giveBack("a", limit)
        }
        limiter.giveBack("unknown", limit)
        for _ in 0..<3 { #expect(limiter.take("a", limit) == nil) }
        #expect(limiter.take("a", limit) != nil)
    }

    @Test("of many at once no more than the count are let through")
    func together() async {
        let clock = ManualClock()
        let limiter = InProcessRateLimiter(now: { clock.now })
        let taken = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<200 { group.addTask { limiter.take("a", limit) == nil } }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(taken == 3)
    }
}
