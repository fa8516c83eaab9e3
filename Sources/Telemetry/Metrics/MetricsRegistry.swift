import CoreMetrics
import Domain
import Synchronization

/// Keeps the process's metrics and writes them in Prometheus' text format 0.0.4. The backend of swift-metrics:
/// counters are counters, aggregating recorders and timers are histograms, meters and other recorders are gauges.
public final class MetricsRegistry: Sendable {
    /// A metric with more label combinations than this has a label that it should not have: further ones are not kept.
    public static let maximumSeries = 1000

    /// Upper bounds in milliseconds: from a cached read to a slow model.
    static let millisecondBuckets: [Double] = [
        1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000,
    ]

    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    private struct Family {
        let kind: Kind
        var series: [String: Series] = [:]
    }

    private let families = Mutex<[String: Family]>([:])
    private let help: [String: String]

    /// - Parameter help: a sentence for each metric name.
    public init(help: [String: String]) { self.help = help }

    func series(_ label: String, _ dimensions: [(String, String)], kind: Kind) -> Series {
        let name = Self.sanitized(label)
        let labels = Self.labels(dimensions)
        return families.withLock { families in
            var family = families[name] ?? Family(kind: kind)
            if let series = family.series[labels] { return series }
            let series = Series(buckets: family.kind == .histogram ? Self.millisecondBuckets : [])
            if family.series.count < Self.maximumSeries { family.series[labels] = series }
            families[name] = family
            return series
        }
    }

    /// A value that is read when the metrics are asked for.
    public struct Sample: Sendable {
        public let name: String
        public let dimensions: [(String, String)]
        public let value: Double

        public init(_ name: String, _ dimensions: [(String, String)] = [], _ value: Double) {
            self.name = name
            self.dimensions = dimensions
            self.value = value
        }
    }

    /// Everything as text, sorted by name.
    ///
    /// - Parameters:
    ///   - samples: values read just now; a name that ends in `_total` is a counter, any other a gauge.
    ///   - isWanted: whether what was kept under a name belongs there.
    public func exposition(samples: [Sample] = [], where isWanted: (String) -> Bool = { _ in true }) -> String {
        var lines: [String: [String]] = [:]
        families.withLock { families in
            for (name, family) in families where isWanted(name) {
                lines[name] = header(name, family.kind)
                for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
                    lines[name]? += series.lines(name: name, labels: labels)
                }
            }
        }
        for sample in samples {
            let kind: Kind = sample.name.hasSuffix("_total") ? .counter : .gauge
            let labels = Self.labels(sample.dimensions)
            lines[sample.name, default: header(sample.name, kind)].append(
                "\(sample.name)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.number(sample.value))")
        }
        return lines.sorted { $0.key < $1.key }.flatMap(\.value).joined(separator: "\n") + "\n"
    }

    private func header(_ name: String, _ kind: Kind) -> [String] {
        ["# HELP \(name) \(help[name] ?? "Reported by a library of this server.")", "# TYPE \(name) \(kind.rawValue)"]
    }

    private static func labels(_ dimensions: [(String, String)]) -> String {
        dimensions.sorted { $0.0 < $1.0 }.map { name, value in
            // By scalars: a carriage return and a line feed are one Character.
            let escaped = value.unicodeScalars.map { scalar in
                switch scalar {
                case "\\": "\\\\"
                case "\"": "\\\""
                case "\n": "\\n"
                default: String(scalar)
                }
            }.joined()
            return "\(sanitized(name))=\"\(escaped)\""
        }.joined(separator: ",")
    }

    /// Letters, digits and `_`; the first is no digit.
    private static func sanitized(_ name: String) -> String {
        let clean = name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
        return clean.first?.isNumber == true ? "_" + String(clean) : String(clean)
    }

    static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }
}

/// The numbers under one set of labels.
final class Series: CounterHandler, FloatingPointCounterHandler, RecorderHandler, TimerHandler, MeterHandler {
    private struct State {
        var value = 0.0
        var count: Int64 = 0
        var counts: [Int64]
    }

    private let buckets: [Double]
    private let state: Mutex<State>

    init(buckets: [Double]) {
        self.buckets = buckets
        state = Mutex(State(counts: Array(repeating: 0, count: buckets.count)))
    }

    func lines(name: String, labels: String) -> [String] {
        let state = state.withLock { $0 }
        let suffix = labels.isEmpty ? "" : "{\(labels)}"
        guard !buckets.isEmpty else { return ["\(name)\(suffix) \(MetricsRegistry.number(state.value))"] }
        let prefix = labels.isEmpty ? "" : labels + ","
        var lines: [String] = []
        var cumulative: Int64 = 0
        for (bound, count) in zip(buckets, state.counts) {
            cumulative += count
            lines.append("\(name)_bucket{\(prefix)le=\"\(MetricsRegistry.number(bound))\"} \(cumulative)")
        }
        lines.append("\(name)_bucket{\(prefix)le=\"+Inf\"} \(state.count)")
        lines.append("\(name)_sum\(suffix) \(MetricsRegistry.number(state.value))")
        lines.append("\(name)_count\(suffix) \(state.count)")
        return lines
    }

    // Counters
    func increment(by amount: Int64) { state.withLock { $0.value += Double(amount) } }
    func increment(by amount: Double) { state.withLock { $0.value += amount } }
    func decrement(by amount: Double) { state.withLock { $0.value -= amount } }
    func reset() { state.withLock { $0.value = 0 } }

    // Gauges
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { state.withLock { $0.value = value } }

    // Histograms
    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        guard !buckets.isEmpty else { return set(value) }
        let bucket = buckets.firstIndex { value <= $0 }
        state.withLock { state in
            state.value += value
            state.count += 1
            if let bucket { state.counts[bucket] += 1 }
        }
    }

    /// A timer's duration, kept in milliseconds.
    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1_000_000) }
}

/// Lets code that uses swift-metrics write into a registry.
public struct RegistryMetricsFactory: MetricsFactory {
    private let registry: MetricsRegistry

    public init(registry: MetricsRegistry) { self.registry = registry }

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        registry.series(label, dimensions, kind: .counter)
    }

    public func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        registry.series(label, dimensions, kind: .counter)
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        registry.series(label, dimensions, kind: .gauge)
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        registry.series(label, dimensions, kind: aggregate ? .histogram : .gauge)
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        registry.series(label, dimensions, kind: .histogram)
    }

    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}
}
