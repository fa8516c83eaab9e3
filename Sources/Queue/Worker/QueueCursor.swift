import Domain

/// How far one worker has come in one queue.
///
/// Jobs are claimed from the front of an index, where those that were claimed before lie dead until the database cleans
/// up, which an old transaction may keep it from for long. So a busy worker begins where the queue had come to, and looks
/// further back, for jobs that came to be seen late, as often as that costs a small part of its time.
struct QueueCursor {
    /// The queue is told at most this often: everybody who enqueues reads it, and each change leaves an old row behind.
    private static let telling: Duration = .milliseconds(100)
    /// After a look at everything, this many times as long without one.
    private static let restFactor = 10
    /// And no longer: what was handed back stands before where the queue has come to.
    private static let longestRest: Duration = .seconds(5)

    /// A busy queue is asked for jobs that are due, and for bounds, at least this often.
    private static let longest: Duration = .milliseconds(100)
    /// After a brief claim that found nothing, for there may be bounds.
    private static let caution: Duration = .seconds(1)

    let kind: JobKind
    /// The highest start tag claimed here.
    private var highest: Int64 = 0
    /// What the queue was told last: nothing that comes to be available after that has a lower tag.
    private var told: Int64 = 0
    private var tellsAt = ContinuousClock.now
    private var looksBackAt = ContinuousClock.now
    /// Claims are brief until then.
    private var briefUntil = ContinuousClock.now
    private var briefFrom = ContinuousClock.now

    init(_ kind: JobKind) { self.kind = kind }

    mutating func claim(limit: Int, at now: ContinuousClock.Instant) -> JobClaim {
        var claim = JobClaim(kind: kind, limit: limit)
        if now < looksBackAt { claim.floor = told }
        if highest > told, now >= tellsAt { claim.virtualTime = highest }
        claim.isBrief = now >= briefFrom && now < briefUntil
        return claim
    }

    /// Notes what came of a claim that was made.
    mutating func note(_ claim: JobClaim, _ leases: [JobLease], began: ContinuousClock.Instant) {
        // Of a queue that nothing was asked of, nothing was told either.
        guard claim.limit > 0 else { return }
        let now = ContinuousClock.now
        if claim.floor == nil { looksBackAt = now + min((now - began) * Self.restFactor, Self.longestRest) }
        if let time = claim.virtualTime {
            told = time
            tellsAt = now + Self.telling
        }
        let own = leases.filter { $0.kind == kind }
        for lease in own { highest = max(highest, lease.startTag) }
        if claim.isBrief {
            if own.isEmpty { briefFrom = now + Self.caution }
        } else {
            briefUntil = own.count == claim.limit ? now + Self.longest : now
        }
    }
}
