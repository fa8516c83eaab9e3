import Storage

/// Where everything is stored.
enum DatabaseChoice: Sendable {
    /// SQLite, in a folder that this process holds alone.
    case embedded(folder: String)
    case postgres(PostgresChoice)

    struct PostgresChoice: Sendable {
        var tenants: PostgresConfiguration
        var system: PostgresConfiguration
        /// Where to hear of other processes' jobs, unless all there is goes through a pooler.
        var listen: PostgresConfiguration?
    }

    /// Faults go to the reader.
    init(_ settings: inout SettingsReader) {
        let folder = settings.text(.dataDirectory)
        guard let url = Self.url(.databaseURL, &settings) else {
            for setting in [Setting.databaseSystemURL, .databaseListenURL] where settings.string(setting) != nil {
                settings.fault(setting, "is set, and DATABASE_URL is not.")
            }
            self = .embedded(folder: folder)
            return
        }
        var tenants = PostgresConfiguration(
            url: url, pooler: settings.choice(.databasePooler, PostgresConfiguration.Pooler.self) ?? .none)
        tenants.connections = settings.int(.databaseConnections, in: 1...200)
        tenants.wait = settings.seconds(.databaseWait, in: 1...60)
        tenants.outage = tenants.wait
        tenants.statementTimeout = settings.seconds(.statementTimeout, in: 1...3600)
        var system = tenants
        if let url = Self.url(.databaseSystemURL, &settings) {
            system.url = url
        } else {
            settings.fault(.databaseSystemURL, "must be set with DATABASE_URL; see docs/postgres.md.")
        }
        var listen = system.pooler == .none ? system : nil
        if let url = Self.url(.databaseListenURL, &settings) {
            listen = system
            listen?.url = url
            listen?.pooler = .none
        }
        self = .postgres(PostgresChoice(tenants: tenants, system: system, listen: listen))
    }

    /// A URL of PostgreSQL, or `nil` when the setting is not set.
    static func url(_ setting: Setting, _ settings: inout SettingsReader) -> String? {
        guard let url = settings.string(setting) else { return nil }
        if !url.hasPrefix("postgres://"), !url.hasPrefix("postgresql://") {
            settings.fault(setting, "must start with postgresql://. To use the embedded database, leave it unset.")
        } else if !PostgresSchema.isReadable(url) {
            settings.fault(setting, "is no URL that can be read. In a password write @ as %40, / as %2F, : as %3A and % as %25.")
        }
        return url
    }
}
