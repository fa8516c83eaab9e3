import Agents
import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// A run's log as server-sent events (WHATWG HTML): `id:` is `seq`, `event:` the type, `data:` the event's JSON.
extension LiveGateway {
    /// A comment goes out when nothing else did for this long: proxies and clients tell a quiet run from a dead one.
    static let heartbeat: Duration = .seconds(15)

    /// - Throws: `Problem` with `invalid_cursor` when the run has no event with the number `after`, or `shutting_down`.
    func stream(_ run: Run, after: Int64, on channel: any Channel) async throws -> Response {
        try checkOpen()
        if after > 0 {
            let known = try await store.events(tenant: run.tenant, run: run.id, after: after - 1, limit: 1)
            guard known.first?.seq == after else {
                throw Problem(.invalidCursor, "The run has no event \(after) yet. Use the id of the last event you saw.")
            }
            // Nothing can follow: 204 tells a browser's EventSource not to come back.
            if known.first?.isTerminal == true { return Response(status: .noContent) }
        }
        let body = ResponseBody { writer in
            // A client that leaves ends the stream at once, even when the run is silent.
            let audience = Audience()
            ConnectionGuard.onLeave(of: channel) { audience.leave() }
            try await self.write(run, after: after, to: &writer, audience)
            try await writer.finish(nil)
        }
        let headers: HTTPFields = [
            .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store",
            .xAccelBuffering: "no", .runID: "\(run.id)",
        ]
        return Response(status: .ok, headers: headers, body: body)
    }

    private func write(
        _ run: Run, after: Int64, to writer: inout any ResponseBodyWriter, _ audience: Audience
    ) async throws {
        // Sends the head at once: a client that waits for the first event knows that it is connected.
        try await writer.write(ByteBuffer(string: ": run \(run.id)\n\n"))
        try await follow(run, after: after, audience: audience, heartbeat: Self.heartbeat) { events in
            var buffer = ByteBuffer()
            for event in events {
                buffer.writeString("id: \(event.seq)\nevent: \(event.type)\ndata: ")
                buffer.writeString(event.json(run: run.id, session: run.session))
                buffer.writeString("\n\n")
            }
            try await writer.write(buffer)
        } idle: {
            try await writer.write(ByteBuffer(string: ": heartbeat\n\n"))
        }
    }
}

extension HTTPField.Name {
    // The names are constants of the right form.
    /// Tells nginx not to gather the stream.
    static let xAccelBuffering = HTTPField.Name("X-Accel-Buffering").unsafelyUnwrapped
    static let runID = HTTPField.Name("X-Run-Id").unsafelyUnwrapped
}
