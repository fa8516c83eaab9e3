import Operations

/// One variable that configures the program. docs/configuration.md is made from these.
struct Setting: Sendable {
    enum Role: String, CaseIterable, Sendable {
        case serve
        case migrate
        case client
    }

    /// The environment's name. In `sba.yaml` the parts between underscores nest: `SBA_HTTP_HOST` is `sba: {http: {host: …}}`.
    let name: String
    let role: Role
    /// What it does, its unit and its range.
    let summary: String
    let defaultText: String?
    let isSecret: Bool

    init(_ name: String, _ role: Role = .serve, _ summary: String, default defaultText: String? = nil, secret: Bool = false) {
        self.name = name
        self.role = role
        self.summary = summary
        self.defaultText = defaultText
        isSecret = secret
    }
}

extension Setting {
    static let httpHost = Setting(
        "SBA_HTTP_HOST", .serve, "Address to listen on. Anything but loopback is seen by the network.", default: "127.0.0.1")
    static let httpPort = Setting("SBA_HTTP_PORT", .serve, "Port to listen on, 0 for any free one.", default: "8080")
    static let dataDirectory = Setting(
        "SBA_DATA_DIR", .serve, "Folder of the embedded database and its keys; made with mode 0700.", default: "data")
    static let secretKey = Setting(
        "SBA_SECRET_KEY", .serve,
        "Master secret that seals what rests in the database, at least 32 characters. Made and kept in the data folder when absent; needed with DATABASE_URL, the same for every process.",
        secret: true)
    static let secretKeyPrevious = Setting(
        "SBA_SECRET_KEY_PREVIOUS", .serve,
        "The master secret before this one: what it sealed still opens, until 'sba key rotate --secrets' has sealed it anew.",
        secret: true)
    static let publicURL = Setting(
        "SBA_PUBLIC_URL", .serve, "Where people reach the server, for mail.", default: "http://127.0.0.1:8080")
    static let httpConnections = Setting(
        "SBA_HTTP_CONNECTIONS", .serve, "Connections at one time, 1 to 100000; further ones wait to be taken.",
        default: "10000")
    static let tlsCertificate = Setting(
        "SBA_TLS_CERTIFICATE", .serve,
        "File with the server's certificate and its chain, in PEM. With it the server speaks TLS, and HTTP/2 to whoever wants it."
    )
    static let tlsKey = Setting(
        "SBA_TLS_KEY", .serve, "File with the certificate's private key, in PEM; not readable by everyone.")
    static let trustedProxies = Setting(
        "SBA_TRUSTED_PROXIES", .serve,
        "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses and networks, separated by commas, like 10.0.0.0/8."
    )
    static let corsOrigins = Setting(
        "CORS_ALLOWED_ORIGINS", .serve,
        "Origins whose pages may call the API for every tenant, separated by commas, like https://app.example.com. Tenants can list more of their own."
    )
    static let signInAddressLimit = Setting(
        "SBA_SIGNIN_ADDRESS_LIMIT", .serve,
        "Tries of passwords and secrets a minute from one address, 1 to 100000.", default: "60")
    static let signInAccountLimit = Setting(
        "SBA_SIGNIN_ACCOUNT_LIMIT", .serve,
        "Failed tries of one account's password in 15 minutes, 1 to 100000.", default: "10")
    static let mailDirectory = Setting(
        "SBA_MAIL_DIR", .serve,
        "Folder that mail is written to, one private file each, for whatever sends it. Else the data folder's mail; with DATABASE_URL nowhere."
    )
    static let supabaseURL = Setting(
        "SUPABASE_URL", .serve, "A Supabase project whose access tokens are good here; see docs/identity.md.")
    static let supabaseSecret = Setting(
        "SUPABASE_JWT_SECRET", .serve,
        "The project's secret for HS256. Without it the keys that the project publishes are used, for ES256.", secret: true)
    static let issuersFile = Setting(
        "SBA_ISSUERS_FILE", .serve, "JSON file with other issuers whose access tokens are good here; see docs/identity.md.")
    static let adminEmail = Setting("SBA_ADMIN_EMAIL", .serve, "Address of the first account.", default: "admin@localhost.local")
    static let adminPassword = Setting(
        "SBA_ADMIN_PASSWORD", .serve,
        "Password of the first account, 10 to 200 characters. Made and printed once when absent.", secret: true)
    static let registration = Setting(
        "SBA_REGISTRATION", .serve, "Who may register: first (closes once an account exists), open, closed.", default: "first")
    static let model = Setting(
        "SBA_MODEL", .serve,
        "Model of runs that name none, as provider/model: openai/NAME or local/extractive, which quotes documents and is no language model.",
        default: "local/extractive")
    static let openAIBaseURL = Setting(
        "OPENAI_BASE_URL", .serve,
        "An OpenAI-compatible API with its version. Set it, or OPENAI_API_KEY, to use openai/… models.",
        default: "https://api.openai.com/v1")
    static let openAIKey = Setting("OPENAI_API_KEY", .serve, "Key for that API.", secret: true)
    static let connectTimeout = Setting(
        "SBA_MODEL_CONNECT_SECONDS", .serve, "How long connecting to a model server may take, 1 to 60.", default: "5")
    static let firstByteTimeout = Setting(
        "SBA_MODEL_FIRSTBYTE_SECONDS", .serve, "How long a model may think before its first byte, 1 to 3600.", default: "60")
    static let idleTimeout = Setting(
        "SBA_MODEL_IDLE_SECONDS", .serve, "How long a model may pause in its answer, 1 to 3600.", default: "30")
    static let totalTimeout = Setting(
        "SBA_MODEL_TOTAL_SECONDS", .serve, "How long one answer of a model may take, 1 to 86400.", default: "300")
    static let toolsFile = Setting(
        "SBA_TOOLS_FILE", .serve, "JSON file that declares tools served over HTTP; see docs/tools.md.")
    static let sampleKnowledge = Setting(
        "SBA_SAMPLE_KNOWLEDGE", .serve,
        "Folder whose .md, .txt and .html files become documents of the first account's tenant, when that account is made.")
    static let workerSlots = Setting(
        "SBA_WORKER_SLOTS", .serve, "Runs at work at one time in this process, 1 to 1000.", default: "64")
    static let worker = Setting(
        "SBA_WORKER", .serve,
        "Whether this process works on jobs: on, off (it serves only), or only (it serves nothing but metrics and health). Off and only need DATABASE_URL.",
        default: "on")
    static let queues = Setting(
        "SBA_QUEUES", .serve,
        "Queues that this process works on, separated by commas: run, index_document, schedule, webhook. All when absent.")
    static let metricsHost = Setting(
        "SBA_METRICS_HOST", .serve, "Address of the second port. Anything but loopback needs SBA_METRICS_TOKEN.",
        default: "127.0.0.1")
    static let metricsPort = Setting(
        "SBA_METRICS_PORT", .serve,
        "Second port, for /metrics, /metrics/workers and /health, 0 for any free one. When the default is taken, there is none.",
        default: "9464")
    static let metricsToken = Setting(
        "SBA_METRICS_TOKEN", .serve,
        "What whoever asks the second port sends as Authorization: Bearer …, at least 16 characters.",
        secret: true)
    static let drain = Setting(
        "SBA_DRAIN_SECONDS", .serve, "How long a shutdown lets running work finish before handing it back, 0 to 300.",
        default: "10")
    static let webhookNetworks = Setting(
        "SBA_WEBHOOK_ALLOWED_NETWORKS", .serve,
        "Networks that webhooks may reach although they are inward, and by http too, separated by commas, like 10.1.0.0/16. None when absent."
    )
    /// What is kept for how long.
    static let retention: [(rows: RetainedRows, setting: Setting)] = [
        (
            .jobs,
            Setting(
                "SBA_RETENTION_JOBS_DAYS", .serve, "Days until jobs that are done are deleted, 0 for never.", default: "7")
        ),
        (
            .deadLetters,
            Setting(
                "SBA_RETENTION_DEAD_LETTERS_DAYS", .serve, "Days until discarded jobs are deleted, 0 for never.", default: "30")
        ),
        (
            .runs,
            Setting(
                "SBA_RETENTION_RUNS_DAYS", .serve,
                "Days until runs that have ended are deleted, with events, steps, tool calls and messages, 0 for never.",
                default: "0")
        ),
        (
            .idempotencyKeys,
            Setting(
                "SBA_RETENTION_IDEMPOTENCY_DAYS", .serve, "Days until idempotency keys are deleted, 0 for never.", default: "7")
        ),
        (
            .auditLogs,
            Setting(
                "SBA_RETENTION_AUDIT_DAYS", .serve, "Days until rows of the audit log are deleted, 30 at least, 0 for never.",
                default: "400")
        ),
        (
            .usage,
            Setting(
                "SBA_RETENTION_USAGE_DAYS", .serve, "Days until rows of usage are deleted, 0 for never.", default: "400")
        ),
        (
            .signIns,
            Setting(
                "SBA_RETENTION_SIGN_INS_DAYS", .serve,
                "Days until ended sign-ins, expired tokens, invitations and resets are deleted, 0 for never.", default: "7")
        ),
        (
            .scheduleFirings,
            Setting(
                "SBA_RETENTION_FIRINGS_DAYS", .serve,
                "Days until firings of schedules are deleted, which runs outlive, 0 for never.", default: "90")
        ),
        (
            .deliveries,
            Setting(
                "SBA_RETENTION_DELIVERIES_DAYS", .serve,
                "Days until events that webhooks were told are deleted, with their deliveries, 0 for never.", default: "30")
        ),
        (
            .metaEvents,
            Setting(
                "SBA_RETENTION_META_EVENTS_DAYS", .serve, "Days until meta events are deleted, 0 for never.", default: "400")
        ),
    ]

    static let logLevel = Setting(
        "SBA_LOG_LEVEL", .serve, "trace, debug, info, notice, warning, error or critical.", default: "info")
    static let logFormat = Setting(
        "SBA_LOG_FORMAT", .serve, "json, text, or auto: text on a terminal, else json.", default: "auto")
    static let databaseURL = Setting(
        "DATABASE_URL", .serve,
        "PostgreSQL in place of the embedded database: postgresql://sba_app:PASSWORD@HOST:PORT/NAME, with sslmode and so on as libpq reads them.",
        secret: true)
    static let databaseSystemURL = Setting(
        "DATABASE_SYSTEM_URL", .serve,
        "The same database as the role sba_system, for what has no tenant: signing in, claiming jobs. Needed with DATABASE_URL.",
        secret: true)
    static let databaseListenURL = Setting(
        "DATABASE_LISTEN_URL", .serve,
        "The same database past the pooler, as sba_system, so that processes wake each other. Without it, behind a pooler, they look every 500 ms.",
        secret: true)
    static let databasePooler = Setting(
        "DATABASE_POOLER", .serve,
        "transaction behind PgBouncer or Supavisor in transaction mode: then no prepared statements with names and no start-up options are used. Else none.",
        default: "none")
    static let databaseConnections = Setting(
        "SBA_DATABASE_CONNECTIONS", .serve, "Connections of each of the two roles, 1 to 200.", default: "8")
    static let databaseWait = Setting(
        "SBA_DATABASE_WAIT_SECONDS", .serve,
        "How long a request waits for a free connection, or for a server that went away, 1 to 60.", default: "5")
    static let statementTimeout = Setting(
        "SBA_STATEMENT_TIMEOUT_SECONDS", .serve, "How long PostgreSQL works on one statement, 1 to 3600.", default: "30")
    static let slowQuery = Setting(
        "SBA_SLOW_QUERY_MS", .serve,
        "What takes the database longer than this, waiting included, is logged without its values, 1 to 3600000.",
        default: "500")
    static let databaseOwnerURL = Setting(
        "DATABASE_OWNER_URL", .migrate,
        "The database as its owner, past any pooler, for 'sba migrate' only: it makes the tables, and the two roles if it may.",
        secret: true)

    static let url = Setting("SBA_URL", .client, "Where the server is.", default: "http://127.0.0.1:8080")
    static let email = Setting("SBA_EMAIL", .client, "Address to sign in with; asked for on a terminal when absent.")
    static let password = Setting(
        "SBA_PASSWORD", .client, "Password to sign in with; asked for on a terminal when absent.", secret: true)
    static let token = Setting("SBA_TOKEN", .client, "Access token to use in place of signing in.", secret: true)

    /// All of them, in the order of the documentation.
    static let all: [Setting] =
        [
            httpHost, httpPort, publicURL, httpConnections, tlsCertificate, tlsKey, trustedProxies, corsOrigins, dataDirectory,
            secretKey, secretKeyPrevious, adminEmail, adminPassword, registration, signInAddressLimit, signInAccountLimit,
            mailDirectory, supabaseURL, supabaseSecret, issuersFile, model, openAIBaseURL,
            openAIKey, connectTimeout, firstByteTimeout, idleTimeout, totalTimeout, toolsFile, sampleKnowledge, worker, queues,
            workerSlots, drain, metricsHost, metricsPort, metricsToken, webhookNetworks, logLevel, logFormat, databaseURL,
            databaseSystemURL,
            databaseListenURL, databasePooler, databaseConnections,
            databaseWait, statementTimeout, slowQuery,
        ] + retention.map(\.setting) + [databaseOwnerURL, url, email, password, token]
}
