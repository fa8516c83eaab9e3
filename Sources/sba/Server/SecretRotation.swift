import Accounts
import Automation
import Domain
import Storage

/// Seals what rests in the database anew, while no server holds the embedded one.
struct SecretRotation {
    private let database: DatabaseChoice
    private let secret: String?
    private let previous: String?

    /// - Throws: `ConfigurationError`.
    init(_ settings: inout SettingsReader) throws {
        database = DatabaseChoice(&settings)
        secret = settings.string(.secretKey)
        previous = settings.string(.secretKeyPrevious)
        if secret != nil, previous == nil {
            settings.fault(.secretKeyPrevious, "must be the secret that SBA_SECRET_KEY takes the place of.")
        }
        if let secret, secret.count < SecretSealer.minimumKeyCharacters {
            settings.fault(.secretKey, "must have at least \(SecretSealer.minimumKeyCharacters) characters.")
        }
        if case .postgres = database, secret == nil { settings.fault(.secretKey, "must be the new master secret.") }
        try settings.finish()
    }

    /// Answers how many secrets were sealed anew.
    func run() async throws -> Int {
        switch database {
        case .postgres(let choice):
            let engine = PostgresEngine(tenants: choice.tenants, system: choice.system)
            return try await reseal(engine, SecretSealer(secret: secret ?? "", previous: previous))
        case .embedded(let folder):
            let directory = try DataDirectory(folder)
            let engine = try SQLiteEngine(path: directory.database)
            guard let secret else {
                // Kept beside the old one until all is sealed under it: a crash in between loses neither.
                let (old, new) = try directory.nextSecret()
                let count = try await reseal(engine, SecretSealer(secret: new, previous: old))
                try directory.takeNextSecret()
                return count
            }
            return try await reseal(engine, SecretSealer(secret: secret, previous: previous))
        }
    }

    private func reseal(_ engine: any SQLEngine, _ sealer: SecretSealer) async throws -> Int {
        let keys = SigningKeys(store: SigningKeyRepository(engine: engine), sealer: sealer, ambient: .system)
        let count = await Result {
            try await keys.reseal() + WebhookService.reseal(WebhookRepository(engine: engine), sealer)
        }
        await engine.close()
        return try count.get()
    }
}
