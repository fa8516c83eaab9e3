import Domain
import Foundation
import Testing

@testable import Queue

@Suite("QueueCursor")
struct QueueCursorTests {
    private static let kind = JobKind(rawValue: "test")

    private func leases(_ tags: [Int64]) -> [JobLease] {
        tags.map { tag in
            JobLease(
                job: JobID(UUID()), tenant: TenantID(UUID()), kind: Self.kind, subject: UUID(), attempt: 1, maximumAttempts: 1,
                token: 1, startTag: tag)
        }
    }

    @Test("a queue is told how far it has come, and a busy worker then begins there")
    func floor() {
        var cursor = QueueCursor(Self.kind)
        let begin = ContinuousClock.now
        let first = cursor.claim(limit: 2, at: begin)
        #expect(first.floor == nil && first.virtualTime == nil && !first.isBrief)
        cursor.note(first, leases([5, 7]), began: begin - .seconds(1))
        let second = cursor.claim(limit: 2, at: .now)
        #expect(second.virtualTime == 7)
        #expect(second.floor == 0, "the queue has not been told yet, and looking at all took a second")
        cursor.note(second, leases([8, 9]), began: .now)
        let third = cursor.claim(limit: 2, at: .now)
        #expect(third.floor == 7)
        #expect(third.virtualTime == nil, "told a moment ago")
        let later = cursor.claim(limit: 2, at: .now + .seconds(60))
        #expect(later.floor == nil && later.virtualTime == 9)
    }

    @Test("a queue that nothing was asked of has been told nothing, and a long look is not followed by a long rest")
    func bounds() {
        var cursor = QueueCursor(Self.kind)
        cursor.note(cursor.claim(limit: 2, at: .now), leases([5]), began: .now - .seconds(60))
        #expect(cursor.claim(limit: 2, at: .now).floor == 0)
        #expect(cursor.claim(limit: 2, at: .now + .seconds(6)).floor == nil)
        let nothing = cursor.claim(limit: 0, at: .now)
        #expect(nothing.virtualTime == 5)
        cursor.note(nothing, [], began: .now)
        #expect(cursor.claim(limit: 2, at: .now).virtualTime == 5, "still to be told")
    }

    @Test("claims are brief while the queue gives all that is asked, and for a while no longer")
    func brief() {
        var cursor = QueueCursor(Self.kind)
        let first = cursor.claim(limit: 2, at: .now)
        cursor.note(first, leases([1, 2]), began: .now)
        let brief = cursor.claim(limit: 2, at: .now)
        #expect(brief.isBrief)
        #expect(!cursor.claim(limit: 2, at: .now + .seconds(1)).isBrief, "jobs that are due, and bounds, are looked for")
        cursor.note(brief, [], began: .now)
        let careful = cursor.claim(limit: 2, at: .now)
        #expect(!careful.isBrief, "there may be bounds")
        cursor.note(careful, leases([3, 4]), began: .now)
        #expect(!cursor.claim(limit: 2, at: .now).isBrief)
        cursor.note(careful, leases([5]), began: .now)
        #expect(!cursor.claim(limit: 2, at: .now + .seconds(2)).isBrief, "the queue ran empty")
    }
}
