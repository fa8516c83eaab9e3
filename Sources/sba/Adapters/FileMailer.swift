import Accounts
import Domain
import Foundation
import Logging

/// Writes each message to a private file of its own (RFC 5322), for whatever delivers mail on this machine.
struct FileMailer: Mailer {
    let folder: String
    let ambient: Ambient
    let logger: Logger

    func send(_ mail: Mail) async throws {
        do {
            try write(mail)
        } catch {
            logger.error("Mail cannot be written.", metadata: ["folder": "\(folder)", "error": "\(error)"])
            throw error
        }
    }

    private func write(_ mail: Mail) throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        // The name says what to remove when the tenant is erased.
        let name = "\(mail.tenant.map { "\($0)" } ?? Self.noTenant)_\(Identifier<Void>(ambient.makeID())).eml"
        let text = """
            Date: \(ambient.now().iso8601)
            \(Self.to)\(mail.to)
            Subject: \(mail.subject.filter { !$0.isNewline })
            Content-Type: text/plain; charset=utf-8

            \(mail.text)

            """.replacingOccurrences(of: "\n", with: "\r\n")
        let isMade = FileManager.default.createFile(
            atPath: folder + "/" + name, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        guard isMade else { throw Problem(.storageUnavailable, "Mail cannot be written to '\(folder)'.") }
    }

    private static let noTenant = "none"
    private static let to = "To: "

    func forget(address: String) async throws {
        try remove { path in
            let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            return text.contains("\r\n\(Self.to)\(address)\r\n")
        }
    }

    func forget(tenant: TenantID) async throws {
        try remove { $0.split(separator: "/").last?.hasPrefix("\(tenant)_") ?? false }
    }

    private func remove(where isMeant: (String) -> Bool) throws {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where name.hasSuffix(".eml") {
            let path = folder + "/" + name
            if isMeant(path) { try FileManager.default.removeItem(atPath: path) }
        }
    }
}

/// Where no mail can be sent. Invitations still work, for their token is answered to whoever invites.
struct NoMailer: Mailer {
    let logger: Logger

    func send(_ mail: Mail) async throws {
        logger.warning("A message was not sent: set SBA_MAIL_DIR.", metadata: ["subject": "\(mail.subject)"])
    }

    func forget(address: String) async throws {}
    func forget(tenant: TenantID) async throws {}
}
