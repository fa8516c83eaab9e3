import Domain

/// By what usage is told apart.
public enum UsageDimension: String, CaseIterable, Sendable {
    case day
    case user
    case agent
    case kind
    case name
}

/// What was used, added up over one value of each dimension that was asked for.
public struct UsageSum: Hashable, Sendable {
    /// In the order that was asked for; a user who was erased is `nil`.
    public let group: [String?]
    /// Model calls and tool calls, every attempt that ended.
    public let calls: Int64
    public let inputTokens: Int64
    public let outputTokens: Int64
    public let durationMilliseconds: Int64

    public init(group: [String?], calls: Int64, inputTokens: Int64, outputTokens: Int64, durationMilliseconds: Int64) {
        self.group = group
        self.calls = calls
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.durationMilliseconds = durationMilliseconds
    }
}

/// Reads what was used. Rows are written in the transaction of the step that they tell of.
public protocol UsageStore: Sendable {
    /// Sums over calls that ended from `from` on and before `to`, in the order of their groups, at most `limit` of them.
    func usage(
        tenant: TenantID, from: Timestamp, to: Timestamp, by dimensions: [UsageDimension], limit: Int
    ) async throws -> [UsageSum]
}
