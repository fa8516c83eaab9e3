/// Why a store did not do what it was asked. Nothing was stored, except perhaps after `outcomeUnknown`.
public enum StorageError: Error, Hashable, Sendable {
    /// A row with this key exists already; the constraint as the engine names it.
    case uniqueViolation(String)
    /// A row that is referred to does not exist.
    case foreignKeyViolation
    /// More batches are waiting than the engine takes on.
    case overloaded
    /// The database cannot be reached or written: disk full, closed, broken file.
    case unavailable(String)
    /// The database will not do this, however often it is asked.
    case refused(String)
    /// The connection was lost while committing: the batch may have been stored. Repeat it under the same ids.
    case outcomeUnknown

    /// Nothing was stored, and the same may be stored when it is tried again later.
    public var isPassing: Bool {
        switch self {
        case .overloaded, .unavailable: true
        case .uniqueViolation, .foreignKeyViolation, .refused, .outcomeUnknown: false
        }
    }
}
