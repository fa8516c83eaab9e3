import Domain
import Foundation

/// What a job does, and which handler runs it. The jobs of one kind form a queue, which has the kind's name.
public struct JobKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }
}

/// Which of a tenant's own jobs of one kind come first. It gives no place before another tenant's.
public enum JobPriority: Int, CaseIterable, Sendable {
    case high = 0
    case normal = 1
    case low = 2

    /// As people write it.
    public var name: String { "\(self)" }

    public init?(name: String) {
        guard let priority = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = priority
    }
}

/// Work to be done once: it names its subject (a run, a document), which holds the data.
public struct NewJob: Sendable {
    /// Keeps equal work from being enqueued twice.
    public struct Uniqueness: Hashable, Sendable {
        /// What makes two jobs of one tenant and kind equal.
        public let key: String
        /// How long after being enqueued a job keeps others away, even once it has ended; until it ends in any case.
        public let window: Duration

        public init(key: String, window: Duration = .zero) {
            self.key = key
            self.window = window
        }
    }

    public let id: JobID
    public let kind: JobKind
    public let subject: UUID
    /// Started at most this often; the last failure discards it.
    public let maximumAttempts: Int
    /// What the handler needs besides the subject.
    public var payload: JSONValue
    public var priority: JobPriority
    /// How long it is kept back.
    public var delay: Duration
    public var uniqueness: Uniqueness?

    public init(
        id: JobID, kind: JobKind, subject: UUID, maximumAttempts: Int, payload: JSONValue = [:],
        priority: JobPriority = .normal, delay: Duration = .zero, uniqueness: Uniqueness? = nil
    ) {
        self.id = id
        self.kind = kind
        self.subject = subject
        self.maximumAttempts = maximumAttempts
        self.payload = payload
        self.priority = priority
        self.delay = delay
        self.uniqueness = uniqueness
    }
}

/// A claimed job: proof that its holder may work on it, until the lease ends or a newer token is given out.
public struct JobLease: Sendable {
    public let job: JobID
    public let tenant: TenantID
    public let kind: JobKind
    public let subject: UUID
    public let payload: JSONValue
    /// Counts starts, from 1.
    public let attempt: Int
    public let maximumAttempts: Int
    /// The fencing token: grows with every claim; a write under an older one changes nothing.
    public let token: Int64
    /// Its place in the queue.
    public let startTag: Int64

    public init(
        job: JobID, tenant: TenantID, kind: JobKind, subject: UUID, payload: JSONValue = [:], attempt: Int,
        maximumAttempts: Int, token: Int64, startTag: Int64 = 0
    ) {
        self.job = job
        self.tenant = tenant
        self.kind = kind
        self.subject = subject
        self.payload = payload
        self.attempt = attempt
        self.maximumAttempts = maximumAttempts
        self.token = token
        self.startTag = startTag
    }
}

extension JobLease: Hashable {
    /// No two leases of a job have the same token.
    public static func == (left: Self, right: Self) -> Bool { left.job == right.job && left.token == right.token }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(job)
        hasher.combine(token)
    }
}
