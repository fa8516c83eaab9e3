extension Result where Failure == any Error {
    /// What the work came to, so that something can be closed before it is told.
    public init(_ work: () async throws -> Success) async {
        do { self = .success(try await work()) } catch { self = .failure(error) }
    }
}
