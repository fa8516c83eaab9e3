import Domain

/// What SQLite says in its own way.
struct SQLiteDialect: SQLDialect {
    let lockFirst: SQLStatement? = nil

    let claimJobs = """
        UPDATE jobs SET \(JobRepository.claimChanges)
        WHERE id IN (
            SELECT id FROM jobs
            WHERE kind = ?1 AND state = 'available' AND start_tag >= ?5 AND \(JobRepository.isOpen)
                AND NOT \(JobRepository.isBounded)
            ORDER BY start_tag, id LIMIT ?2
        )
        RETURNING \(JobRepository.leaseColumns)
        """

    /// A limit cannot depend on a row here: each tenant's first `?2` jobs are numbered instead.
    let claimBoundedJobs = """
        UPDATE jobs SET \(JobRepository.claimChanges)
        WHERE id IN (
            \(JobRepository.waitingTenants)
            SELECT id FROM (
                SELECT j.id, j.start_tag, \(JobRepository.allowance) AS allowance,
                    row_number() OVER (PARTITION BY j.tenant_id ORDER BY j.priority, j.start_tag, j.id) AS place
                FROM waiting JOIN jobs j ON j.id IN (
                    SELECT id FROM jobs WHERE kind = ?1 AND tenant_id = waiting.tenant_id AND state = 'available'
                    ORDER BY priority, start_tag, id LIMIT ?2
                )
                WHERE waiting.tenant_id IS NOT NULL AND \(JobRepository.isOpen) AND \(JobRepository.isBounded)
            )
            WHERE place <= allowance ORDER BY start_tag, id LIMIT ?2
        )
        RETURNING \(JobRepository.leaseColumns)
        """

    let lockBoundedQueue: String? = nil

    func whereHeld(_ places: String) -> String {
        """
        FROM (VALUES \(places)) AS held
        WHERE jobs.id = held.column1 AND jobs.token = held.column2 AND jobs.\(JobRepository.isExecuting)
        """
    }

    let searchChunks = """
        SELECT c.document_id, c.id, c.title, c.heading, c.text, -f.score
        FROM (
            SELECT rowid, bm25(chunks_fts, 0.0, 2.0, 1.5, 1.0) AS score FROM chunks_fts
            WHERE chunks_fts MATCH ?2
        ) AS f
        JOIN chunks c ON c.number = f.rowid AND c.tenant_id = ?1
        JOIN documents d ON d.tenant_id = c.tenant_id AND d.id = c.document_id
        WHERE d.status = 'ready' AND (?3 IS NULL OR d.collection = ?3)
        ORDER BY f.score LIMIT ?4
        """

    /// FTS5 query syntax: every word quoted, so that nothing in it is an operator.
    func fullTextQuery(tenant: TenantID, words: [String]) -> String {
        let any = words.map { "\"\($0.filter { $0 != "\"" })\"" }.joined(separator: " OR ")
        return "tenant : \"\(tenant.description.filter { $0 != "-" })\" AND {title heading text} : (\(any))"
    }
}
