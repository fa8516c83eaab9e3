import Accounts
import Domain
import Foundation
import Queue

/// A queue as operators see it.
public struct QueueSummary: Hashable, Sendable {
    public let kind: JobKind
    /// Since when nothing is claimed from it.
    public let pausedAt: Timestamp?
    /// How many jobs of one tenant may be at work at one time, unless its share says otherwise; `nil` for any number.
    public let tenantConcurrency: Int?
    /// Jobs by state; of the final ones only dead letters.
    public let depths: [QueueDepth]

    public init(kind: JobKind, pausedAt: Timestamp?, tenantConcurrency: Int?, depths: [QueueDepth]) {
        self.kind = kind
        self.pausedAt = pausedAt
        self.tenantConcurrency = tenantConcurrency
        self.depths = depths
    }
}

/// What is changed of a queue; what is absent stays.
public struct QueueChange: Hashable, Sendable {
    public var isPaused: Bool?
    /// `.some(nil)` lifts the bound.
    public var tenantConcurrency: Int??

    public init(isPaused: Bool? = nil, tenantConcurrency: Int?? = nil) {
        self.isPaused = isPaused
        self.tenantConcurrency = tenantConcurrency
    }

    var isEmpty: Bool { isPaused == nil && tenantConcurrency == nil }

    /// For the audit log.
    var details: JSONValue {
        var details: [String: JSONValue] = [:]
        if let isPaused { details["paused"] = .bool(isPaused) }
        if let tenantConcurrency { details["tenantConcurrency"] = JSONValue(tenantConcurrency) }
        return .object(details)
    }
}

/// What a tenant has of a queue.
public struct QueueShare: Hashable, Sendable {
    public static let weights = 1...1000
    public static let concurrencies = 1...100_000

    public let tenant: TenantID
    /// Turns to another tenant's one.
    public let weight: Int
    /// Jobs at work at one time; `nil` for what the queue says.
    public let concurrency: Int?

    public init(tenant: TenantID, weight: Int, concurrency: Int?) {
        self.tenant = tenant
        self.weight = weight
        self.concurrency = concurrency
    }
}

/// A job as operators see it.
public struct JobRecord: Hashable, Sendable {
    public let id: JobID
    public let tenant: TenantID
    public let kind: JobKind
    public let subject: UUID
    public let payload: JSONValue
    public let state: JobState
    public let priority: JobPriority
    public let attempt: Int
    public let maximumAttempts: Int
    public let lastError: String?
    /// Who holds it.
    public let worker: String?
    public let createdAt: Timestamp
    /// When it became, or becomes, available.
    public let runAt: Timestamp
    /// When it was last started.
    public let startedAt: Timestamp?
    public let finishedAt: Timestamp?

    public init(
        id: JobID, tenant: TenantID, kind: JobKind, subject: UUID, payload: JSONValue, state: JobState,
        priority: JobPriority, attempt: Int, maximumAttempts: Int, lastError: String?, worker: String?,
        createdAt: Timestamp, runAt: Timestamp, startedAt: Timestamp?, finishedAt: Timestamp?
    ) {
        self.id = id
        self.tenant = tenant
        self.kind = kind
        self.subject = subject
        self.payload = payload
        self.state = state
        self.priority = priority
        self.attempt = attempt
        self.maximumAttempts = maximumAttempts
        self.lastError = lastError
        self.worker = worker
        self.createdAt = createdAt
        self.runAt = runAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }
}

/// What an operator changes of a job that is not at work.
public struct JobEdit: Hashable, Sendable {
    public static let attempts = 1...1000
    public static let maximumPayloadBytes = 64 * 1024

    public var payload: JSONValue?
    public var priority: JobPriority?
    public var maximumAttempts: Int?

    public init(payload: JSONValue? = nil, priority: JobPriority? = nil, maximumAttempts: Int? = nil) {
        self.payload = payload
        self.priority = priority
        self.maximumAttempts = maximumAttempts
    }
    var isEmpty: Bool { payload == nil && priority == nil && maximumAttempts == nil }

    /// For the audit log, without the payload, which is a tenant's.
    var details: [String: JSONValue] {
        var details: [String: JSONValue] = [:]
        if payload != nil { details["payload"] = "changed" }
        if let priority { details["priority"] = .string(priority.name) }
        if let maximumAttempts { details["maximumAttempts"] = .int(Int64(maximumAttempts)) }
        return details
    }
}
