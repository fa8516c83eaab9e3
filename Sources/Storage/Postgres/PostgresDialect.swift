import Domain

/// What PostgreSQL says in its own way.
struct PostgresDialect: SQLDialect {
    /// Held until the transaction ends: between "there is none" and the first one nobody else may look.
    let lockFirst: SQLStatement? = SQLStatement("SELECT pg_advisory_xact_lock(7317001)")

    /// As an array the rows are chosen once; a join might choose, and lock, others for each row it looks at.
    let claimJobs = """
        UPDATE jobs SET \(JobRepository.claimChanges)
        WHERE id = ANY (ARRAY(
            SELECT id FROM jobs
            WHERE kind = ?1 AND state = 'available' AND start_tag >= ?5 AND \(JobRepository.isOpen)
                AND NOT \(JobRepository.isBounded)
            ORDER BY start_tag, id LIMIT ?2 FOR UPDATE SKIP LOCKED
        ))
        RETURNING \(JobRepository.leaseColumns)
        """

    /// Nobody else claims meanwhile; a job that is cancelled at this moment is left out.
    let claimBoundedJobs = """
        UPDATE jobs SET \(JobRepository.claimChanges)
        WHERE state = 'available' AND id = ANY (ARRAY(
            \(JobRepository.waitingTenants)
            SELECT first.id FROM waiting, LATERAL (
                SELECT id, start_tag FROM jobs
                WHERE kind = ?1 AND tenant_id = waiting.tenant_id AND state = 'available'
                ORDER BY priority, start_tag, id LIMIT greatest(0, least(?2, \(JobRepository.allowance)))
            ) AS first
            WHERE waiting.tenant_id IS NOT NULL AND \(JobRepository.isOpen) AND \(JobRepository.isBounded)
            ORDER BY first.start_tag, first.id LIMIT ?2
        ))
        RETURNING \(JobRepository.leaseColumns)
        """

    let lockBoundedQueue: String? =
        "SELECT pg_advisory_xact_lock(7317002, hashtext(?1)) WHERE \(JobRepository.isBounded)"

    /// Without a join: in one PostgreSQL would read, whole, a table that was empty when it planned this, or the index of all
    /// that is at work, where what has ended lies dead while some transaction stays open. The arrays are made once.
    func whereHeld(_ places: String) -> String {
        func held(_ column: String) -> String { "ARRAY(SELECT \(column) FROM (VALUES \(places)) AS held)" }
        return """
            WHERE id = ANY (\(held("column1"))) AND token = (\(held("column2")))[array_position(\(held("column1")), id)]
                AND \(JobRepository.isExecuting)
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
