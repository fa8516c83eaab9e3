import Domain

/// What SQLite says in its own way.
struct SQLiteDialect: SQLDialect {
    let lockFirst: SQLStatement? = nil

    func claimJobs(kindCount: Int) -> String {
        let kinds = (0..<kindCount).map { "?\($0 + 4)" }.joined(separator: ", ")
        return """
            UPDATE jobs SET state = 'executing', attempt = attempt + 1, token = token + 1, lease_until = ?2
            WHERE id IN (
                SELECT id FROM jobs
                WHERE state IN ('available', 'retryable') AND run_at <= ?1 AND kind IN (\(kinds))
                ORDER BY run_at, id LIMIT ?3
            )
            RETURNING \(JobRepository.leaseColumns)
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
