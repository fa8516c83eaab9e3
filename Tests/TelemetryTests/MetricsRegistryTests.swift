import CoreMetrics
import Telemetry
import Testing

private let bounds = [
    "1", "2.5", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000", "300000", "+Inf",
]

/// The lines of a histogram whose buckets, in order, count these.
private func histogram(_ name: String, labels: String, counts: [Int]) -> [String] {
    zip(bounds, counts).map { bound, count in "\(name)_bucket{\(labels)le=\"\(bound)\"} \(count)" }
}

private func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

@Suite("Metrics registry")
struct MetricsRegistryTests {
    private let registry: MetricsRegistry
    private let factory: RegistryMetricsFactory

    init() {
        registry = MetricsRegistry(help: ["jobs_total": "Jobs done.", "wait_ms": "Time waited."])
        factory = RegistryMetricsFactory(registry: registry)
    }

    @Test("A counter is written with its help, type, labels and sum")
    func counter() {
        let counter = factory.makeCounter(label: "jobs_total", dimensions: [("kind", "run"), ("outcome", "completed")])
        counter.increment(by: Int64(2))
        counter.increment(by: Int64(3))
        let expected = """
            # HELP jobs_total Jobs done.
            # TYPE jobs_total counter
            jobs_total{kind="run",outcome="completed"} 5

            """
        #expect(registry.exposition() == expected)
    }

    @Test("A counter of fractions keeps them, and a reset begins at zero")
    func fractions() {
        let counter = factory.makeFloatingPointCounter(label: "jobs_total", dimensions: [])
        counter.increment(by: 0.5)
        counter.increment(by: 0.25)
        #expect(lines(registry.exposition()).last == "jobs_total 0.75")
        counter.reset()
        #expect(lines(registry.exposition()).last == "jobs_total 0")
    }

    @Test("A gauge is written with its last value, and says that its help is unknown")
    func gauge() {
        let meter = factory.makeMeter(label: "depth", dimensions: [])
        meter.set(7.0)
        meter.increment(by: 2.5)
        meter.decrement(by: 1.0)
        let expected = """
            # HELP depth Reported by a library of this server.
            # TYPE depth gauge
            depth 8.5

            """
        #expect(registry.exposition() == expected)
    }

    @Test("A recorder that does not aggregate is a gauge")
    func plainRecorder() {
        let recorder = factory.makeRecorder(label: "depth", dimensions: [], aggregate: false)
        recorder.record(Int64(3))
        recorder.record(4.5)
        #expect(lines(registry.exposition()).suffix(2) == ["# TYPE depth gauge", "depth 4.5"])
    }

    @Test("A histogram is written with cumulative buckets, a sum and a count")
    func aggregatingRecorder() {
        let recorder = factory.makeRecorder(label: "wait_ms", dimensions: [("route", "/a")], aggregate: true)
        for value in [0.5, 1, 3, 400_000] { recorder.record(value) }
        let counts: [Int] = [2, 2] + Array(repeating: 3, count: 14) + [4]
        let expected: [String] =
            ["# HELP wait_ms Time waited.", "# TYPE wait_ms histogram"]
            + histogram("wait_ms", labels: "route=\"/a\",", counts: counts)
            + ["wait_ms_sum{route=\"/a\"} 400004.5", "wait_ms_count{route=\"/a\"} 4"]
        #expect(lines(registry.exposition()) == expected)
    }

    @Test("A timer is a histogram of milliseconds")
    func timer() {
        let timer = factory.makeTimer(label: "wait_ms", dimensions: [])
        timer.recordNanoseconds(2_500_000)
        let expected: [String] =
            ["# HELP wait_ms Time waited.", "# TYPE wait_ms histogram"]
            + histogram("wait_ms", labels: "", counts: [0] + Array(repeating: 1, count: 16))
            + ["wait_ms_sum 2.5", "wait_ms_count 1"]
        #expect(lines(registry.exposition()) == expected)
    }

    @Test("Metrics are sorted by name, their series by labels, each under one header")
    func order() {
        for name in ["b", "a"] {
            for kind in ["z", "y"] {
                factory.makeCounter(label: name, dimensions: [("kind", kind)]).increment(by: Int64(1))
            }
        }
        let series = lines(registry.exposition()).filter { !$0.hasPrefix("#") }
        #expect(series == ["a{kind=\"y\"} 1", "a{kind=\"z\"} 1", "b{kind=\"y\"} 1", "b{kind=\"z\"} 1"])
        #expect(lines(registry.exposition()).count == 8)
    }

    @Test("The same labels are the same series, in whatever order they are given")
    func sameSeries() {
        factory.makeCounter(label: "a", dimensions: [("x", "1"), ("y", "2")]).increment(by: Int64(1))
        factory.makeCounter(label: "a", dimensions: [("y", "2"), ("x", "1")]).increment(by: Int64(1))
        #expect(lines(registry.exposition()).last == "a{x=\"1\",y=\"2\"} 2")
    }

    @Test("Backslashes, quotes and line breaks in a label are escaped")
    func escapesLabels() {
        factory.makeCounter(label: "a", dimensions: [("path", "C:\\x \"y\"\nz {},")]).increment(by: Int64(1))
        #expect(lines(registry.exposition()).last == #"a{path="C:\\x \"y\"\nz {},"} 1"#)
    }

    @Test("No value of a label begins another line", arguments: ["a\nb 1", "a\r\nb 1", "\n\n", "\r\n"])
    func labelStaysOnLine(value: String) {
        factory.makeCounter(label: "a", dimensions: [("path", value)]).increment(by: Int64(1))
        #expect(registry.exposition().utf8.count(where: { $0 == 0x0A }) == 3)
    }

    @Test(
        "Names are brought to the form that Prometheus takes",
        arguments: [("http.requests-total", "http_requests_total"), ("5xx", "_5xx"), ("t\u{E9}", "t_")])
    func sanitizesNames(label: String, expected: String) {
        factory.makeCounter(label: label, dimensions: [(label, "v")]).increment(by: Int64(1))
        #expect(lines(registry.exposition()).last == "\(expected){\(expected)=\"v\"} 1")
    }

    @Test("Of one metric at most 1000 series are kept, and those go on counting")
    func boundsSeries() {
        for number in 0..<1200 {
            factory.makeCounter(label: "a", dimensions: [("id", "\(number)")]).increment(by: Int64(1))
        }
        factory.makeCounter(label: "a", dimensions: [("id", "0")]).increment(by: Int64(1))
        factory.makeCounter(label: "b", dimensions: []).increment(by: Int64(1))
        let series = lines(registry.exposition()).filter { $0.hasPrefix("a{") }
        #expect(series.count == 1000)
        #expect(series.contains("a{id=\"0\"} 2"))
        #expect(lines(registry.exposition()).last == "b 1")
    }

    @Test("Values that are read now are counters by their name's end, else gauges")
    func samples() {
        let text = registry.exposition(samples: [
            .init("open_files", [], 12), .init("cpu_total", [("mode", "user")], 1.5), .init("cpu_total", [("mode", "system")], 2),
        ])
        let expected = """
            # HELP cpu_total Reported by a library of this server.
            # TYPE cpu_total counter
            cpu_total{mode="user"} 1.5
            cpu_total{mode="system"} 2
            # HELP open_files Reported by a library of this server.
            # TYPE open_files gauge
            open_files 12

            """
        #expect(text == expected)
    }

    @Test("Nothing that is counted at the same time is lost")
    func parallelCounting() async {
        let counter = factory.makeCounter(label: "a", dimensions: [])
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1000 { counter.increment(by: Int64(1)) }
                }
            }
        }
        #expect(lines(registry.exposition()).last == "a 8000")
    }
}

@Suite("Process metrics")
struct ProcessMetricsTests {
    @Test("The process reports its time, memory, threads and files under Prometheus' names")
    func names() {
        let samples = ProcessMetrics.samples()
        let expected: Set<String> = [
            "process_cpu_seconds_total", "process_threads", "process_start_time_seconds", "process_resident_memory_bytes",
            "process_open_fds",
        ]
        #expect(Set(samples.map(\.name)) == expected)
        #expect(samples.allSatisfy { $0.value > 0 || $0.name == "process_cpu_seconds_total" })
    }
}
