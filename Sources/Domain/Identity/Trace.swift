/// What ties one piece of work together from HTTP through job to tool: a request id and a W3C trace context.
public struct Trace: Hashable, Sendable {
    /// `X-Request-Id`, 1 to 128 visible ASCII characters.
    public let requestID: String
    /// `traceparent` (W3C Trace Context), when the caller sent a valid one.
    public let traceparent: String?

    public init(requestID: String, traceparent: String? = nil) {
        self.requestID = requestID
        self.traceparent = traceparent
    }

    /// The 32 hexadecimal digits of the trace, when there is one.
    public var traceID: String? {
        traceparent.flatMap { Self.isTraceparent($0) ? String($0.split(separator: "-")[1]) : nil }
    }

    /// Whether `text` is a version 00 `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zeros.
    public static func isTraceparent(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 4, parts.map(\.utf8.count) == [2, 32, 16, 2], parts[0] == "00" else { return false }
        let isHexadecimal = parts.allSatisfy { part in
            part.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        }
        return isHexadecimal && parts[1].contains { $0 != "0" } && parts[2].contains { $0 != "0" }
    }
}
