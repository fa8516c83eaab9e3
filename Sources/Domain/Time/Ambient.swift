import Foundation

/// The three things that make code unrepeatable, as closures that a test replaces.
public struct Ambient: Sendable {
    /// The current time.
    public let now: @Sendable () -> Timestamp
    /// A new UUIDv7.
    public let makeID: @Sendable () -> UUID
    /// A number from 0 up to but not including 1.
    public let random: @Sendable () -> Double

    public init(
        now: @escaping @Sendable () -> Timestamp, makeID: @escaping @Sendable () -> UUID,
        random: @escaping @Sendable () -> Double
    ) {
        self.now = now
        self.makeID = makeID
        self.random = random
    }

    /// The system's clock and random numbers.
    public static let system = Ambient(
        now: systemNow,
        makeID: { UUID.version7(at: systemNow()) },
        random: { Double.random(in: 0..<1) })

    @Sendable private static func systemNow() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }
}

extension UUID {
    /// A UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, 12 of sub-millisecond time, 62 random.
    public static func version7(at time: Timestamp) -> UUID {
        let milliseconds = UInt64(bitPattern: time.milliseconds)
        let fraction = UInt64(time.microseconds % 1000 * 4096 / 1000)
        let high = milliseconds << 16 | 0x7000 | fraction & 0x0FFF
        let low = UInt64.random(in: .min ... .max) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        return withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { bytes in
            UUID(uuid: bytes.loadUnaligned(as: uuid_t.self))
        }
    }

    /// No UUIDv7 that was made at `time` or later, to the millisecond, is less than this.
    public static func lowestVersion7(at time: Timestamp) -> UUID {
        let high = UInt64(bitPattern: max(0, time.milliseconds)) << 16 | 0x7000
        return withUnsafeBytes(of: (high.bigEndian, UInt64(0x8000_0000_0000_0000).bigEndian)) { bytes in
            UUID(uuid: bytes.loadUnaligned(as: uuid_t.self))
        }
    }
}
