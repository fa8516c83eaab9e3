/// What kind of failure it was, for counting: by HTTP's classes where another server answered.
public enum FailureClass: String, CaseIterable, Sendable {
    /// The other side refuses what it was asked.
    case client = "4xx"
    /// The other side failed, or could not be reached.
    case server = "5xx"
    case timeout
    case other
}

/// An error that knows its class.
public protocol ClassifiedError: Error {
    var failureClass: FailureClass { get }
}

extension FailureClass {
    /// `other` where the error does not say.
    public init(_ error: any Error) { self = (error as? any ClassifiedError)?.failureClass ?? .other }
}
