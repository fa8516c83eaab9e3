import Domain
import Metrics

/// What a worker counts, by queue.
enum WorkerMetrics {
    /// - Parameter outcome: how the job left the worker.
    static func note(_ kind: JobKind, outcome: String, _ result: Result<JobOutcome, any Error>, duration: Duration) {
        let queue = ("queue_name", kind.rawValue)
        Counter(label: "sba_jobs_total", dimensions: [queue, ("outcome", outcome)]).increment()
        Recorder(label: "sba_job_duration_ms", dimensions: [queue]).record(duration.milliseconds)
        guard case .failure(let error) = result, outcome == "failed" || outcome == "discarded" else { return }
        Counter(label: "sba_job_errors_total", dimensions: [queue, ("class", FailureClass(error).rawValue)]).increment()
    }
}
