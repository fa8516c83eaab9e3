import Domain
import Foundation

/// What a job does, and which handler runs it.
public struct JobKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }
}

/// Work to be done once: it names its subject (a run, a document), which holds the data.
public struct NewJob: Sendable {
    public let id: JobID
    public let kind: JobKind
    public let subject: UUID
    /// Started at most this often; the last failure discards it.
    public let maximumAttempts: Int

    public init(id: JobID, kind: JobKind, subject: UUID, maximumAttempts: Int) {
        self.id = id
        self.kind = kind
        self.subject = subject
        self.maximumAttempts = maximumAttempts
    }
}

/// A claimed job: proof that its holder may work on it, until the lease ends or a newer token is given out.
public struct JobLease: Hashable, Sendable {
    public let job: JobID
    public let tenant: TenantID
    public let kind: JobKind
    public let subject: UUID
    /// Counts starts, from 1.
    public let attempt: Int
    public let maximumAttempts: Int
    /// The fencing token: grows with every claim; a write under an older one changes nothing.
    public let token: Int64

    public init(
        job: JobID, tenant: TenantID, kind: JobKind, subject: UUID, attempt: Int, maximumAttempts: Int, token: Int64
    ) {
        self.job = job
        self.tenant = tenant
        self.kind = kind
        self.subject = subject
        self.attempt = attempt
        self.maximumAttempts = maximumAttempts
        self.token = token
    }
}
