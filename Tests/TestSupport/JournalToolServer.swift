import Domain
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// A tool in another process that writes down every call it gets before it does anything: the truth about dispatches.
public final class JournalToolServer: Sendable {
    public struct Entry: Hashable, Sendable {
        public let tool: String
        /// The call's `Idempotency-Key`.
        public let key: String
        /// What ties the call to the request that led to it, by the header's name.
        public let trace: [String: String]
    }

    private static let traceHeaders = ["X-Request-Id", "X-Tenant-Id", "X-Run-Id", "traceparent"]

    private struct State {
        var entries: [Entry] = []
        var inFlight = 0
    }

    private let state = Mutex(State())
    private let began = Signal()
    /// How long a call takes.
    private let duration: Duration

    public init(duration: Duration) { self.duration = duration }

    public var entries: [Entry] { state.withLock { $0.entries } }
    /// Calls that have begun and are not answered.
    public var inFlight: Int { state.withLock { $0.inFlight } }

    /// Waits for a call to begin; answers whether one did in time.
    public func waitForCall(atMost timeout: Duration) async -> Bool {
        let deadline = ContinuousClock.now + timeout
        let count = entries.count
        while entries.count == count {
            let generation = began.generation
            guard entries.count == count, ContinuousClock.now < deadline else { break }
            await began.wait(after: generation, atMost: deadline - .now)
        }
        return entries.count > count
    }

    public func addRoutes(to router: Router<BasicRequestContext>) {
        router.post("/tools/{name}") { request, context in
            let name = context.parameters.get("name") ?? ""
            let key = HTTPField.Name("Idempotency-Key").flatMap { request.headers[$0] } ?? ""
            var trace: [String: String] = [:]
            for header in Self.traceHeaders {
                if let name = HTTPField.Name(header) { trace[header] = request.headers[name] }
            }
            let entry = Entry(tool: name, key: key, trace: trace)
            self.state.withLock { state in
                state.entries.append(entry)
                state.inFlight += 1
            }
            self.began.notify()
            defer { self.state.withLock { $0.inFlight -= 1 } }
            try await Task.sleep(for: self.duration)
            return "{\"done\":\"\(name)\"}"
        }
    }

    /// The file that declares `ledger`, which must not run twice, and `note`, which may.
    public static func declaration(url: String) -> String {
        let tools: [JSONValue] = [("ledger", false), ("note", true)].map { name, isIdempotent in
            [
                "name": .string(name), "description": "Writes an entry.", "url": .string("\(url)/tools/\(name)"),
                "idempotent": .bool(isIdempotent), "timeoutSeconds": 10,
                "parameters": ["type": "object", "properties": ["entry": ["type": "integer"]], "required": ["entry"]],
            ]
        }
        return JSONValue.object(["tools": .array(tools)]).text
    }
}
