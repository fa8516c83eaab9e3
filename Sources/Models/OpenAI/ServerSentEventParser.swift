/// Splits a byte stream into the `data` of server-sent events (WHATWG HTML, "Server-sent events").
public struct ServerSentEventParser: Sendable {
    /// One event may hold this much; a server that sends more is broken.
    public static let maximumEventBytes = 1 << 20

    /// An event exceeded `maximumEventBytes`.
    public struct TooLarge: Error, Hashable {
        public init() {}
    }

    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var skipsLineFeed = false

    public init() {}

    /// Takes the next piece and answers the events that it completes.
    public mutating func append(_ bytes: [UInt8]) throws(TooLarge) -> [String] {
        var events: [String] = []
        for byte in bytes {
            if skipsLineFeed, byte == 0x0A {
                skipsLineFeed = false
                continue
            }
            skipsLineFeed = byte == 0x0D
            if byte == 0x0A || byte == 0x0D {
                if let event = endLine() { events.append(event) }
            } else {
                line.append(byte)
                guard line.count + data.count <= Self.maximumEventBytes else { throw TooLarge() }
            }
        }
        return events
    }

    private mutating func endLine() -> String? {
        defer { line.removeAll(keepingCapacity: true) }
        if line.isEmpty {
            defer {
                data.removeAll(keepingCapacity: true)
                hasData = false
            }
            return hasData ? String(decoding: data, as: UTF8.self) : nil
        }
        guard line.starts(with: "data:".utf8) else { return nil }
        if hasData { data.append(0x0A) }
        hasData = true
        let value = line.dropFirst(5)
        data.append(contentsOf: value.first == 0x20 ? value.dropFirst() : value)
        return nil
    }
}
