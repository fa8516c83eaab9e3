/// What each metric of ours means, for `# HELP`.
enum MetricHelp {
    static let texts: [String: String] = [
        "http_request_duration_ms": "Time from a request's head to its answer's head, by route template.",
        "sba_build_info": "Always 1; the labels say which build this is.",
        "sba_job_duration_ms": "Time a worker held a job, by queue.",
        "sba_job_errors_total": "Attempts at jobs that failed, by queue and class of the failure.",
        "sba_jobs": "Jobs of all processes that are not done, dead letters among them, by queue and state.",
        "sba_jobs_active": "Jobs at work in this process, by queue.",
        "sba_jobs_total": "Jobs that left a worker of this process, by queue and outcome.",
        "sba_pruned_rows_total": "Rows that were deleted because they were old, by kind.",
        "sba_queue_lag_seconds": "How long the oldest available job has waited, by queue.",
        "sba_queue_paused": "1 while nothing is claimed from the queue.",
        "sba_live_streams": "Open streams of runs.",
        "sba_run_duration_ms": "Time from a run's creation to its leaving a worker.",
        "sba_runs": "Unfinished runs, by status.",
        "sba_runs_total": "Runs that left a worker, by the status they had then.",
        "sba_storage_duration_ms": "Time of one batch of a repository method, waiting included, by method.",
        "sba_storage_commits_total": "Commits that changed the database.",
        "sba_tool_call_duration_ms": "Time of one dispatch of a tool.",
        "sba_tool_calls_total": "Dispatches of tools, by outcome.",
        "process_cpu_seconds_total": "User and system CPU time used.",
        "process_open_fds": "Open file descriptors.",
        "process_resident_memory_bytes": "Resident memory.",
        "process_start_time_seconds": "Start of the process since the epoch.",
        "process_threads": "Threads of the process.",
    ]
}
