import Accounts
import Domain
import Foundation
import Logging
import Models
import Operations
import Telemetry
import Web

/// Everything that `sba serve` can be told, checked as one.
struct ServerConfiguration: Sendable {
    struct FirstAccount: Sendable {
        let email: String
        /// Made up when absent.
        let password: String?
    }

    var host: String
    var port: Int
    var database: DatabaseChoice
    var slowQuery: Duration
    var secretKey: String?
    var previousSecretKey: String?
    var http: HTTPConfiguration
    var publicURL: String
    var signInLimits: SignInLimits
    var mailFolder: String?
    var issuers: [TrustedIssuer]
    var firstAccount: FirstAccount
    var registration: RegistrationPolicy
    var defaultModel: String
    /// Present when an OpenAI-compatible provider is configured.
    var openAI: OpenAIConfiguration?
    var toolsFile: String?
    var sampleKnowledge: String?
    var worker: WorkerMode
    /// `nil` for all.
    var queues: Set<String>?
    var workerSlots: Int
    var metrics: MetricsChoice
    var retention: RetentionPolicy
    /// Inward networks that webhooks may reach.
    var webhookNetworks: [IPNetwork]
    var drain: Duration
    var logLevel: Logger.Level
    /// `nil`: text on a terminal, else JSON.
    var logFormat: LogFormat?

    var speaksTLS: Bool { http.tls != nil }

    /// - Throws: `ConfigurationError` with every fault.
    init(_ settings: inout SettingsReader) throws {
        host = settings.text(.httpHost)
        port = settings.int(.httpPort, in: 0...65535)
        database = DatabaseChoice(&settings)
        slowQuery = .milliseconds(settings.int(.slowQuery, in: 1...3_600_000))
        secretKey = settings.string(.secretKey)
        if case .postgres = database, secretKey == nil {
            settings.fault(
                .secretKey, "must be set with DATABASE_URL, the same for every process. Make one: openssl rand -hex 32")
        }
        if let secretKey, secretKey.count < SecretSealer.minimumKeyCharacters {
            settings.fault(
                .secretKey, "must have at least \(SecretSealer.minimumKeyCharacters) characters. Make one: openssl rand -hex 32")
        }
        previousSecretKey = settings.string(.secretKeyPrevious)
        http = Self.http(&settings)
        publicURL = settings.text(.publicURL)
        signInLimits = SignInLimits()
        signInLimits.address = RateLimit(
            count: settings.int(.signInAddressLimit, in: 1...100_000), per: signInLimits.address.period)
        signInLimits.account = RateLimit(
            count: settings.int(.signInAccountLimit, in: 1...100_000), per: signInLimits.account.period)
        mailFolder = settings.string(.mailDirectory)
        issuers = Self.issuers(&settings)
        firstAccount = FirstAccount(email: settings.text(.adminEmail), password: settings.string(.adminPassword))
        if !AccountService.isEmail(firstAccount.email) { settings.fault(.adminEmail, "must be an email address.") }
        if let password = firstAccount.password, !PasswordHasher.passwordLength.contains(password.count) {
            let length = PasswordHasher.passwordLength
            settings.fault(.adminPassword, "must have \(length.lowerBound) to \(length.upperBound) characters.")
        }
        registration = settings.choice(.registration, RegistrationPolicy.self) ?? .closed
        openAI = Self.openAI(&settings)
        defaultModel = Self.model(&settings, hasOpenAI: openAI != nil)
        toolsFile = settings.string(.toolsFile)
        sampleKnowledge = settings.string(.sampleKnowledge)
        worker = settings.choice(.worker, WorkerMode.self) ?? .on
        if case .embedded = database, worker != .on {
            settings.fault(
                .worker, "is \(worker.rawValue), which needs DATABASE_URL: one process alone holds the embedded database.")
        }
        queues = Self.queues(&settings)
        workerSlots = settings.int(.workerSlots, in: 1...1000)
        metrics = MetricsChoice(&settings)
        retention = Self.retention(&settings)
        webhookNetworks = Self.webhookNetworks(&settings)
        drain = settings.seconds(.drain, in: 0...300)
        logLevel = settings.choice(.logLevel, Logger.Level.self) ?? .info
        logFormat = Self.logFormat(&settings)
        for (setting, path) in [(Setting.toolsFile, toolsFile), (.sampleKnowledge, sampleKnowledge)] {
            if let path, !FileManager.default.isReadableFile(atPath: path) {
                settings.fault(setting, "names '\(path)', which cannot be read.")
            }
        }
        try settings.finish()
    }

    private static let maximumRetentionDays = 36_500

    private static func webhookNetworks(_ settings: inout SettingsReader) -> [IPNetwork] {
        settings.list(.webhookNetworks).compactMap { text in
            let network = IPNetwork(text)
            if network == nil {
                settings.fault(.webhookNetworks, "must hold addresses and networks like 10.1.0.0/16 or fd00::/8.")
            }
            return network
        }
    }

    private static func retention(_ settings: inout SettingsReader) -> RetentionPolicy {
        var ages: [RetainedRows: Duration] = [:]
        for (rows, setting) in Setting.retention {
            let days = settings.int(setting, in: 0...maximumRetentionDays)
            guard days > 0 else { continue }
            let age: Duration = .seconds(days * 86_400)
            if rows == .auditLogs, age < RetentionPolicy.minimumAudit { settings.fault(setting, "must be 0, or 30 at least.") }
            ages[rows] = age
        }
        return RetentionPolicy(ages: ages)
    }

    private static func queues(_ settings: inout SettingsReader) -> Set<String>? {
        let names = Set(settings.list(.queues))
        let known = Platform.queueNames
        for name in names.sorted() where !known.contains(name) {
            settings.fault(.queues, "holds '\(name.prefix(80))': it must hold some of \(known.joined(separator: ", ")).")
        }
        return names.isEmpty ? nil : names
    }

    private static func http(_ settings: inout SettingsReader) -> HTTPConfiguration {
        var http = HTTPConfiguration()
        http.maximumConnections = settings.int(.httpConnections, in: 1...100_000)
        for origin in settings.list(.corsOrigins) {
            guard HTTPConfiguration.isOrigin(origin) else {
                settings.fault(
                    .corsOrigins, "holds '\(origin.prefix(80))': an origin is https://app.example.com, without a path or *.")
                continue
            }
            http.corsOrigins.insert(origin)
        }
        if let proxies = TrustedProxies(settings.list(.trustedProxies)) {
            http.trustedProxies = proxies
        } else {
            settings.fault(.trustedProxies, "must hold addresses and networks like 10.0.0.7, 10.0.0.0/8 or fd00::/8.")
        }
        http.tls = tls(&settings)
        return http
    }

    private static func tls(_ settings: inout SettingsReader) -> HTTPConfiguration.TLS? {
        let (certificate, key) = (settings.string(.tlsCertificate), settings.string(.tlsKey))
        guard let certificate, let key else {
            if certificate != nil { settings.fault(.tlsKey, "must be set with SBA_TLS_CERTIFICATE.") }
            if key != nil { settings.fault(.tlsCertificate, "must be set with SBA_TLS_KEY.") }
            return nil
        }
        let tls = HTTPConfiguration.TLS(certificateFile: certificate, keyFile: key)
        if SettingsReader.isReadableByEveryone(key) {
            settings.fault(.tlsKey, "names '\(key)', which everyone on this machine can read. Run: chmod o= '\(key)'")
        }
        do {
            try HTTPConfiguration.check(tls)
        } catch {
            settings.fault(.tlsCertificate, "and SBA_TLS_KEY cannot be used together: \(error)")
        }
        return tls
    }

    private static func issuers(_ settings: inout SettingsReader) -> [TrustedIssuer] {
        var issuers: [TrustedIssuer] = []
        let secret = settings.string(.supabaseSecret)
        if let url = settings.string(.supabaseURL) {
            if !url.hasPrefix("https://"), !url.hasPrefix("http://") { settings.fault(.supabaseURL, "must start with https://.") }
            issuers.append(.supabase(url: url, secret: secret))
        } else if secret != nil {
            settings.fault(.supabaseURL, "must be set with SUPABASE_JWT_SECRET: tokens name the project they come from.")
        }
        guard let file = settings.string(.issuersFile) else { return issuers }
        guard let bytes = FileManager.default.contents(atPath: file) else {
            settings.fault(.issuersFile, "names '\(file)', which cannot be read.")
            return issuers
        }
        do {
            issuers += try TrustedIssuer.list(declaredBy: Array(bytes))
        } catch {
            settings.fault(.issuersFile, "is wrong: \(error.detail)")
        }
        return issuers
    }

    private static func openAI(_ settings: inout SettingsReader) -> OpenAIConfiguration? {
        let base = settings.find(.openAIBaseURL)
        let key = settings.string(.openAIKey)
        let timeouts = HTTPTimeouts(
            connect: settings.seconds(.connectTimeout, in: 1...60),
            firstByte: settings.seconds(.firstByteTimeout, in: 1...3600),
            idle: settings.seconds(.idleTimeout, in: 1...3600), total: settings.seconds(.totalTimeout, in: 1...86_400))
        guard let base, base.source != "default" || key != nil else { return nil }
        if !(base.text.hasPrefix("http://") || base.text.hasPrefix("https://")) {
            settings.fault(.openAIBaseURL, "must start with http:// or https://.")
        }
        return OpenAIConfiguration(baseURL: base.text, apiKey: key, timeouts: timeouts)
    }

    private static func model(_ settings: inout SettingsReader, hasOpenAI: Bool) -> String {
        let found = settings.find(.model)
        let model = found?.text ?? ""
        if model.hasPrefix("openai/"), !hasOpenAI {
            settings.fault(.model, "is '\(model)', and neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.")
        } else if !model.hasPrefix("openai/"), model != "local/extractive" {
            settings.fault(.model, "is '\(model)': it must be openai/NAME or local/extractive.")
        } else if hasOpenAI, found?.source == "default" {
            settings.fault(.model, "must be set beside OPENAI_API_KEY or OPENAI_BASE_URL, for example openai/gpt-4o-mini.")
        }
        return model
    }

    private static func logFormat(_ settings: inout SettingsReader) -> LogFormat? {
        let text = settings.text(.logFormat)
        guard text != "auto" else { return nil }
        return settings.choice(.logFormat, LogFormat.self)
    }
}
