import Foundation

/// What Linux knows of this process, under the names that Prometheus' client libraries use.
public enum ProcessMetrics {
    public static func samples() -> [MetricsRegistry.Sample] {
        var samples: [MetricsRegistry.Sample] = []
        if let fields = statFields(), fields.count > 21 {
            let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
            // Fields 14, 15, 22 and 20 of proc(5), counted after the command's name, which is field 2.
            let cpu = ((Double(fields[11]) ?? 0) + (Double(fields[12]) ?? 0)) / ticks
            samples.append(.init("process_cpu_seconds_total", [], cpu))
            samples.append(.init("process_threads", [], Double(fields[17]) ?? 0))
            if let boot = bootTime() {
                samples.append(.init("process_start_time_seconds", [], boot + (Double(fields[19]) ?? 0) / ticks))
            }
        }
        if let resident = residentBytes() { samples.append(.init("process_resident_memory_bytes", [], resident)) }
        if let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            samples.append(.init("process_open_fds", [], Double(files.count)))
        }
        return samples
    }

    private static func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

    /// The fields of `/proc/self/stat` after the command's name, which may hold spaces.
    private static func statFields() -> [Substring]? {
        guard let stat = text("/proc/self/stat"), let end = stat.lastIndex(of: ")") else { return nil }
        return stat[stat.index(after: end)...].split(separator: " ")
    }

    private static func residentBytes() -> Double? {
        guard let pages = text("/proc/self/statm")?.split(separator: " ").dropFirst().first else { return nil }
        return Double(pages).map { $0 * Double(sysconf(Int32(_SC_PAGESIZE))) }
    }

    private static func bootTime() -> Double? {
        text("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }
            .flatMap { Double($0.dropFirst(6)) }
    }
}
