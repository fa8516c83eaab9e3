/// An error as a client sees it: the body of an RFC 9457 problem document, before it has a status and an instance.
public struct Problem: Error, Hashable, Sendable {
    /// One thing wrong with one field of the request.
    public struct Fault: Hashable, Sendable {
        /// Where, as a path: `options.tools[2]`.
        public let field: String
        /// What is wrong and what would be right.
        public let message: String

        public init(field: String, message: String) {
            self.field = field
            self.message = message
        }
    }

    public let code: ErrorCode
    /// What happened this time and what to do, in one or two sentences.
    public let detail: String
    public let faults: [Fault]
    /// When it is worth trying again.
    public let retryAfter: Duration?

    public init(_ code: ErrorCode, _ detail: String, faults: [Fault] = [], retryAfter: Duration? = nil) {
        self.code = code
        self.detail = detail
        self.faults = faults
        self.retryAfter = retryAfter
    }

    /// The answer to an id that does not exist or belongs to another tenant: the two cannot be told apart.
    public static func notFound(_ what: String) -> Problem {
        Problem(.notFound, "There is no such \(what) in this tenant.")
    }
}
