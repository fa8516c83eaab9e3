import Accounts
import Domain
import Foundation
import Knowledge
import Logging
import Storage

/// What happens once in the life of a database: the first account, and the sample knowledge base.
struct FirstStart {
    let platform: Platform

    /// The account that was made, with its password when that was made up.
    struct Made: Sendable {
        let email: String
        let generatedPassword: String?
        let tenant: TenantID
    }

    /// Makes the first account unless there is one.
    func run() async throws -> Made? {
        let configured = platform.configuration.firstAccount
        let password = configured.password ?? Self.makePassword()
        guard
            let account = try await platform.accounts.createFirst(
                email: configured.email, password: password, tenantName: "Default")
        else { return nil }
        return Made(
            email: account.user.email, generatedPassword: configured.password == nil ? password : nil,
            tenant: account.tenant.id)
    }

    /// Takes the sample documents in; answers how many.
    func addSample(for tenant: TenantID) async throws -> Int {
        guard let folder = platform.configuration.sampleKnowledge else { return 0 }
        return try await addDocuments(in: folder, tenant: tenant)
    }

    /// 20 characters that are hard to mistake for one another: about 100 bits.
    private static func makePassword() -> String {
        let alphabet = Array("abcdefghijkmnpqrstuvwxyz23456789")
        var generator = SystemRandomNumberGenerator()
        return String((0..<20).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &generator)] })
    }

    private func addDocuments(in folder: String, tenant: TenantID) async throws -> Int {
        let files = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        var added = 0
        for file in files.sorted() {
            guard let mediaType = MediaType(contentType: nil, fileName: file),
                let content = FileManager.default.contents(atPath: folder + "/" + file), !content.isEmpty,
                content.count <= NewDocument.maximumBytes
            else { continue }
            let document = NewDocument(
                id: DocumentID(Ambient.system.makeID()), title: file, mediaType: mediaType, content: Array(content))
            try await platform.knowledge.add(tenant: tenant, document)
            added += 1
        }
        return added
    }
}
