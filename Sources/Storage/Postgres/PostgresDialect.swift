import Domain

/// What PostgreSQL says in its own way.
struct PostgresDialect: SQLDialect {
    /// Held until the transaction ends: between "there is none" and the first one nobody else may look.
    let lockFirst: SQLStatement? = SQLStatement("SELECT pg_advisory_xact_lock(7317001)")

    /// As an array the rows are chosen once; a join might choose, and lock, others for each row it looks at.
    func claimJobs(kindCount: Int) -> String {
        let kinds = (0..<kindCount).map { "?\($0 + 4)" }.joined(separator: ", ")
        return """
            UPDATE jobs SET state = 'executing', attempt = attempt + 1, token = token + 1, lease_until = ?2
            WHERE id = ANY (ARRAY(
                SELECT id FROM jobs
                WHERE state IN ('available', 'retryable') AND run_at <= ?1 AND kind IN (\(kinds))
                ORDER BY run_at, id LIMIT ?3 FOR UPDATE SKIP LOCKED
            ))
            RETURNING \(JobRepository.leaseColumns)
            """
    }

    let searchChunks = """
        SELECT c.document_id, c.id, c.title, c.heading, c.text, f.score
        FROM search_chunks(?2, ?3, ?4) AS f
        JOIN chunks c ON c.tenant_id = ?1 AND c.id = f.id
        JOIN documents d ON d.tenant_id = c.tenant_id AND d.id = c.document_id
        WHERE d.status = 'ready' ORDER BY f.score DESC, c.id LIMIT ?4
        """

    /// The syntax of `to_tsquery`: every word quoted, so that nothing in it is an operator.
    func fullTextQuery(tenant: TenantID, words: [String]) -> String {
        words.map { word in "'\(word.filter { $0 != "'" && $0 != "\\" })'" }.joined(separator: " | ")
    }
}
