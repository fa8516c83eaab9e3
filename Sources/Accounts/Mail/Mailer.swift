import Domain

/// A message to one person.
public struct Mail: Hashable, Sendable {
    public let to: String
    /// The tenant on whose behalf it is sent.
    public let tenant: TenantID?
    public let subject: String
    /// Plain text.
    public let text: String

    public init(to: String, tenant: TenantID? = nil, subject: String, text: String) {
        self.to = to
        self.tenant = tenant
        self.subject = subject
        self.text = text
    }
}

/// Hands messages on. Taken means that it will be tried, not that it arrives.
public protocol Mailer: Sendable {
    /// - Throws: whatever keeps the message from being taken.
    func send(_ mail: Mail) async throws

    /// Removes what is kept here of mail to an address.
    func forget(address: String) async throws

    /// Removes what is kept here of mail on behalf of a tenant.
    func forget(tenant: TenantID) async throws
}
