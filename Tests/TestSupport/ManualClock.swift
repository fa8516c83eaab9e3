import Domain
import Foundation
import Synchronization

/// A clock that a test moves by hand.
public final class ManualClock: Sendable {
    private let time: Mutex<Timestamp>

    public init(_ start: Timestamp = Timestamp(microseconds: 1_800_000_000_000_000)) { time = Mutex(start) }

    public var now: Timestamp { time.withLock { $0 } }

    public func advance(by duration: Duration) { time.withLock { $0 = $0.adding(duration) } }

    /// Ids still come in order: their time is the system's.
    public var ambient: Ambient {
        Ambient(now: { self.now }, makeID: Ambient.system.makeID, random: { 0.5 })
    }
}
