import Domain
import Testing

private let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
private let spanID = "00f067aa0ba902b7"

private let valid = [
    "00-\(traceID)-\(spanID)-01", "00-\(traceID)-\(spanID)-00", "00-\(traceID)-\(spanID)-ff",
    "00-00000000000000000000000000000001-0000000000000001-00",
]

private let invalid = [
    "", "00", "---", "00-\(traceID)-\(spanID)", "00-\(traceID)-\(spanID)-", "00-\(traceID)-\(spanID)-1",
    "00-\(traceID)-\(spanID)-01-", "00-\(traceID)-\(spanID)-01-00", "01-\(traceID)-\(spanID)-01",
    "ff-\(traceID)-\(spanID)-01", "0-\(traceID)-\(spanID)-01", "00-\(traceID.uppercased())-\(spanID)-01",
    "00-\(traceID)-\(spanID)-0G", "00-\(traceID.dropLast())-\(spanID)-01", "00-\(traceID)0-\(spanID)-01",
    "00-\(traceID)-\(spanID.dropLast())-01", "00-\(traceID.dropLast())g-\(spanID)-01", " 00-\(traceID)-\(spanID)-01",
    "00-\(traceID)-\(spanID)-01\n", "00_\(traceID)_\(spanID)_01", "00-\(traceID)-\(spanID)-\u{E9}",
    "00-00000000000000000000000000000000-\(spanID)-01", "00-\(traceID)-0000000000000000-01",
]

@Suite("Trace context")
struct TraceTests {
    @Test("A traceparent of version 00 is accepted", arguments: valid)
    func accepts(text: String) {
        #expect(Trace.isTraceparent(text))
    }

    @Test("Another text is no traceparent", arguments: invalid)
    func refuses(text: String) {
        #expect(!Trace.isTraceparent(text))
    }

    @Test("A trace names the 32 digits of its traceparent")
    func namesTrace() {
        let trace = Trace(requestID: "request", traceparent: "00-\(traceID)-\(spanID)-01")
        #expect(trace.traceID == traceID)
    }

    @Test("Without a traceparent there is no trace id")
    func noTrace() {
        #expect(Trace(requestID: "request").traceID == nil)
    }
}
