import Domain
import Foundation

/// What can be read in the audit log: every change of security state, and every privileged read.
public enum AuditAction: String, CaseIterable, Sendable {
    case userRegistered = "user.registered"
    case userErased = "user.erased"
    case userExported = "user.exported"
    case operatorChanged = "user.operator_changed"
    case signedIn = "auth.signed_in"
    case signInFailed = "auth.sign_in_failed"
    case refreshTokenReused = "auth.refresh_token_reused"
    case signedOut = "auth.signed_out"
    case signedOutEverywhere = "auth.signed_out_everywhere"
    case passwordChanged = "auth.password_changed"
    case passwordResetRequested = "auth.password_reset_requested"
    case passwordReset = "auth.password_reset"
    case tenantCreated = "tenant.created"
    case tenantChanged = "tenant.changed"
    case tenantErased = "tenant.erased"
    case tenantExported = "tenant.exported"
    case memberInvited = "member.invited"
    case memberJoined = "member.joined"
    /// By the word of another issuer, which also says the role.
    case memberAdmitted = "member.admitted"
    case memberRoleChanged = "member.role_changed"
    case memberRemoved = "member.removed"
    case invitationRevoked = "member.invitation_revoked"
    case keyCreated = "api_key.created"
    case keyRevoked = "api_key.revoked"
    case auditRead = "audit.read"
    case platformRead = "platform.read"
    case signingKeyRotated = "platform.signing_key_rotated"
    case queueChanged = "queue.changed"
    case jobChanged = "job.changed"
    case scheduleCreated = "schedule.created"
    case scheduleChanged = "schedule.changed"
    case scheduleDeleted = "schedule.deleted"
    case scheduleRun = "schedule.run"
    case webhookCreated = "webhook.created"
    case webhookChanged = "webhook.changed"
    case webhookDeleted = "webhook.deleted"
    case webhookSecretRotated = "webhook.secret_rotated"
    case webhookTested = "webhook.tested"
    case webhookReplayed = "webhook.replayed"
    case eventSchemaChanged = "event_schema.changed"
    case eventSchemaDeleted = "event_schema.deleted"
    /// Of a newer release, whose processes work on the same database.
    case unknown
}

/// Who asks for something, and how the request came.
public struct Requester: Hashable, Sendable {
    /// Nobody while nobody is known, as at a failed sign-in.
    public var user: UserID?
    public var apiKey: APIKeyID?
    /// The client's address as text (RFC 5952), past proxies that are trusted.
    public let address: String?
    public let requestID: String

    public init(user: UserID? = nil, apiKey: APIKeyID? = nil, address: String? = nil, requestID: String) {
        self.user = user
        self.apiKey = apiKey
        self.address = address
        self.requestID = requestID
    }

    /// The server itself, as at its first start.
    public static let server = Requester(requestID: "server")
}

/// One row of the audit log. It names people and things by id only, so that it can outlive them.
public struct AuditEntry: Hashable, Sendable {
    public let id: AuditID
    /// `nil` for what concerns the platform.
    public let tenant: TenantID?
    public let requester: Requester
    public let action: AuditAction
    /// What it was done to, as `kind/id`.
    public let target: String?
    /// More, by name; no personal data and no secrets.
    public let details: JSONValue
    public let time: Timestamp

    public init(
        id: AuditID, tenant: TenantID?, requester: Requester, action: AuditAction, target: String? = nil,
        details: JSONValue = [:], time: Timestamp
    ) {
        self.id = id
        self.tenant = tenant
        self.requester = requester
        self.action = action
        self.target = target
        self.details = details
        self.time = time
    }
}

/// What of the audit log is asked for.
public struct AuditFilter: Hashable, Sendable {
    public var action: AuditAction?
    public var user: UserID?
    /// From this time on.
    public var from: Timestamp?
    /// Before this time.
    public var to: Timestamp?

    public init(action: AuditAction? = nil, user: UserID? = nil, from: Timestamp? = nil, to: Timestamp? = nil) {
        self.action = action
        self.user = user
        self.from = from
        self.to = to
    }
}

/// Reads the audit log. Rows are written by whatever changes what they tell of, in the same transaction.
public protocol AuditStore: Sendable {
    /// Rows of a tenant, newest first. That they were read is a row too, in the same transaction.
    func entries(tenant: TenantID, _ filter: AuditFilter, page: PageRequest, reading: AuditEntry) async throws -> Page<AuditEntry>

    /// Rows that concern the platform, newest first.
    func platformEntries(_ filter: AuditFilter, page: PageRequest, reading: AuditEntry) async throws -> Page<AuditEntry>
}
