import Foundation

/// A typed identifier: a UUID that cannot be mistaken for one of another kind of thing.
///
/// New ones are UUIDv7 (RFC 9562), so they sort by creation time; text is lowercase with hyphens.
public struct Identifier<Entity>: Hashable, Sendable, CustomStringConvertible {
    public let uuid: UUID

    public init(_ uuid: UUID) { self.uuid = uuid }

    /// Reads the 36-character text form; `nil` for anything else.
    public init?(_ text: some StringProtocol) {
        var text = String(text)
        guard text.withUTF8(Self.isWellFormed), let uuid = UUID(uuidString: text) else { return nil }
        self.uuid = uuid
    }

    /// Foundation reads signs and spaces as digits; RFC 9562 does not.
    private static func isWellFormed(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard text.count == 36 else { return false }
        for (offset, byte) in text.enumerated() {
            let isRight =
                switch offset {
                case 8, 13, 18, 23: byte == UInt8(ascii: "-")
                default: (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte)
                }
            guard isRight else { return false }
        }
        return true
    }

    public var description: String {
        String(unsafeUninitializedCapacity: 36) { text in
            withUnsafeBytes(of: uuid.uuid) { bytes in
                var end = 0
                for (offset, byte) in bytes.enumerated() {
                    if offset == 4 || offset == 6 || offset == 8 || offset == 10 {
                        text[end] = UInt8(ascii: "-")
                        end += 1
                    }
                    text[end] = Self.digit(byte >> 4)
                    text[end + 1] = Self.digit(byte & 15)
                    end += 2
                }
                return end
            }
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}

public enum TenantEntity {}
public enum UserEntity {}
public enum RunEntity {}
public enum SessionEntity {}
public enum StepEntity {}
public enum JobEntity {}
public enum DocumentEntity {}
public enum ChunkEntity {}
public enum SignInEntity {}
public enum APIKeyEntity {}
public enum InvitationEntity {}
public enum AuditEntity {}
public enum ScheduleEntity {}
public enum FiringEntity {}
public enum WebhookEntity {}
public enum DeliveryEntity {}
public enum EventEntity {}

public typealias TenantID = Identifier<TenantEntity>
public typealias UserID = Identifier<UserEntity>
public typealias RunID = Identifier<RunEntity>
/// A conversation; AG-UI calls it a thread.
public typealias SessionID = Identifier<SessionEntity>
public typealias StepID = Identifier<StepEntity>
public typealias JobID = Identifier<JobEntity>
public typealias DocumentID = Identifier<DocumentEntity>
public typealias ChunkID = Identifier<ChunkEntity>
/// One sign-in of a person on one device: a family of refresh tokens.
public typealias SignInID = Identifier<SignInEntity>
public typealias APIKeyID = Identifier<APIKeyEntity>
public typealias InvitationID = Identifier<InvitationEntity>
public typealias AuditID = Identifier<AuditEntity>
public typealias ScheduleID = Identifier<ScheduleEntity>
/// One firing of a schedule; the run that it makes has the same.
public typealias FiringID = Identifier<FiringEntity>
public typealias WebhookID = Identifier<WebhookEntity>
public typealias DeliveryID = Identifier<DeliveryEntity>
/// An event that is told to other servers.
public typealias EventID = Identifier<EventEntity>
